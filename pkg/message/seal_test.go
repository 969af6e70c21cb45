package message_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func curve(t *testing.T) (message.Curve, []byte) {
	t.Helper()
	c, seed, err := message.NewCurve()
	if err != nil {
		t.Fatal(err)
	}
	return c, seed
}

func TestOnlyTheHolderOfTheKeyOpensWhatIsSealedToIt(t *testing.T) {
	alice, seed := curve(t)
	mallory, _ := curve(t)
	secret := []byte("-----BEGIN PRIVATE KEY-----")
	sealed, err := message.Seal(secret, alice.Public())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(sealed, "PRIVATE") || strings.ContainsAny(sealed, " \n;") {
		t.Errorf("sealed it is %q", sealed)
	}
	again, err := message.CurveOf(append(seed, '\n'))
	if err != nil {
		t.Fatal(err)
	}
	if open, err := again.Open(sealed); err != nil || !bytes.Equal(open, secret) {
		t.Errorf("opened by its seed: %q, %v", open, err)
	}
	if open, err := mallory.Open(sealed); fleet.KindOf(err) != fleet.Refused || open != nil {
		t.Errorf("another key: %q, %v", open, err)
	}
	other, err := message.Seal(secret, alice.Public())
	if err != nil || other == sealed {
		t.Error("sealed twice it is the same, so that equal secrets can be told", err)
	}
}

func TestWhatWasChangedOrIsNotSealedDoesNotOpen(t *testing.T) {
	alice, _ := curve(t)
	sealed, err := message.Seal([]byte("secret"), alice.Public())
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(sealed)
	flipped[len(flipped)-2] ^= 1
	stranger, _ := curve(t)
	for _, bad := range []string{"", ".", "x", sealed[:len(sealed)-4], string(flipped), stranger.Public() + sealed[strings.Index(sealed, "."):], strings.Replace(sealed, ".", "", 1)} {
		if open, err := alice.Open(bad); err == nil {
			t.Errorf("%q opens as %q", bad, open)
		}
	}
	if _, err := (message.Curve{}).Open(sealed); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("without a key: %v", err)
	}
	for _, to := range []string{"", "X", alice.Public() + "A", "UBAD"} {
		if _, err := message.Seal([]byte("x"), to); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("sealed to %q: %v", to, err)
		}
	}
}

func TestOnlyTheAccountVouchesForTheStationsKey(t *testing.T) {
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	other, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	name, _ := account.PublicKey()
	otherName, _ := other.PublicKey()
	station, _ := curve(t)
	stranger, _ := curve(t)
	voucher, err := message.Vouch(account, station.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := message.CheckVoucher(name, station.Public(), voucher); err != nil {
		t.Error(err)
	}
	forged, err := message.Vouch(other, stranger.Public())
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][3]string{
		"another key":     {name, stranger.Public(), voucher},
		"another account": {otherName, station.Public(), voucher},
		"a forgery":       {name, stranger.Public(), forged},
		"no voucher":      {name, station.Public(), ""},
		"no account":      {"", station.Public(), voucher},
		"no key":          {name, "", voucher},
	} {
		if err := message.CheckVoucher(c[0], c[1], c[2]); fleet.KindOf(err) != fleet.Refused {
			t.Errorf("%s: %v", what, err)
		}
	}
}
