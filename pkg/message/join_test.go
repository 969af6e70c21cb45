package message_test

import (
	"reflect"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func TestAProofIsForOneKeyNameTokenAndPurpose(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	proof, err := message.ProveHeld(message.ToJoin, "token1", "ship1", s)
	if err != nil {
		t.Fatal(err)
	}
	if err := message.CheckHeld(message.ToJoin, "token1", "ship1", s.public, proof); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another purpose": message.CheckHeld(message.ToRenew, "token1", "ship1", s.public, proof),
		"another token":   message.CheckHeld(message.ToJoin, "token2", "ship1", s.public, proof),
		"another name":    message.CheckHeld(message.ToJoin, "token1", "ship2", s.public, proof),
		"another key":     message.CheckHeld(message.ToJoin, "token1", "ship1", other.public, proof),
		"moved lines":     message.CheckHeld(message.ToJoin, "token1\nship1", "", s.public, proof),
		"no proof":        message.CheckHeld(message.ToJoin, "token1", "ship1", s.public, ""),
		"no key":          message.CheckHeld(message.ToJoin, "token1", "ship1", "U", proof),
	} {
		if fleet.KindOf(err) != fleet.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsEnclosedIsForOneSubject(t *testing.T) {
	s := newSigner(t)
	want := message.JoinRequest{Name: "ship1", Key: s.public, Facts: fleet.Facts{Hostname: "ship1.example.org"}, Proof: "x"}
	sent, err := message.SignBody(message.JoinRequestSubject("t1"), "t1", "", want, s)
	if err != nil {
		t.Fatal(err)
	}
	e := message.Enclose(sent)
	m, err := e.Message(message.JoinRequestSubject("t1"))
	if err != nil || m.CheckSignature() != nil || m.Key != s.public {
		t.Fatalf("%+v, %v, %v", m, err, m.CheckSignature())
	}
	moved, err := e.Message(message.JoinRequestSubject("t2"))
	if err != nil || fleet.KindOf(moved.CheckSignature()) != fleet.Refused {
		t.Errorf("a request with one token is one with another: %v, %v", err, moved.CheckSignature())
	}
	e.Body = append([]byte(nil), e.Body...)
	e.Body[len(e.Body)-3]++
	changed, _ := e.Message(message.JoinRequestSubject("t1"))
	if fleet.KindOf(changed.CheckSignature()) != fleet.Refused || reflect.DeepEqual(changed.Body, m.Body) {
		t.Error("a changed request is taken")
	}
}
