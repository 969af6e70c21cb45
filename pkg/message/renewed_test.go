package message_test

import (
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func TestARenewedJWTComesFromWhoSignsTrustSets(t *testing.T) {
	trust, other, user := newSigner(t), newSigner(t), newSigner(t)
	m, err := message.SignRenewed(user.PublicKey(), "a.jwt.text", trust)
	if err != nil {
		t.Fatal(err)
	}
	signers := []string{other.PublicKey(), trust.PublicKey()}
	if token, err := message.OpenRenewed(m, user.PublicKey(), signers); err != nil || token != "a.jwt.text" {
		t.Errorf("%q, %v", token, err)
	}
	changed := m
	changed.Body = []byte("another.jwt.text")
	for what, try := range map[string]struct {
		m       message.Message
		user    string
		signers []string
	}{
		"another user's":        {m, other.PublicKey(), signers},
		"changed":               {changed, user.PublicKey(), signers},
		"by nobody of them":     {m, user.PublicKey(), signers[:1]},
		"where nobody may sign": {m, user.PublicKey(), nil},
	} {
		if token, err := message.OpenRenewed(try.m, try.user, try.signers); fleet.KindOf(err) != fleet.Refused {
			t.Errorf("%s: %q, %v", what, token, err)
		}
	}
}
