package fleet_test

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

// hashForms are hashes of "secret" in every form that nginx verifies; slow are
// those that one could find by guessing the password, were it not dear.
var hashForms = []struct {
	name, hash string
	slow       bool
}{
	{"SHA", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", true},
	{"SSHA with little salt", "{SSHA}" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("h", 20)+"salt")), true},
	{"SSHA", "{SSHA}" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("h", 20)+"salt-and-more")), false},
	{"apr1", "$apr1$hUTTN4Uj$EzMsHRqWLaVaNhTVEyNKD.", false},
	{"apr1 with little salt", "$apr1$hU$EzMsHRqWLaVaNhTVEyNKD.", true},
	{"bcrypt", "$2y$05$abcdefghijklmnopqrstuuGHrXqs6sV0zZ1fJ2N0Y3T0u3Vb8m9mK", false},
	{"sha256", "$5$rounds=5000$0123456789abcdef$" + strings.Repeat("a", 43), false},
	{"sha512", "$6$Zq3fUk9w$hT3Bk99UstVehjKAqb9H1wHXy7GSW3qlmRnkhDxZD3TiJWq95QbYpQSolqK2s2dXF1a8YnCfbILt19lRpjKY50", false},
	{"sha512 with little salt", "$6$Z$hT3Bk99UstVehjKAqb9H1wHXy7GSW3qlmRnkhDxZD3TiJWq95QbYpQSolqK2s2dXF1a8YnCfbILt19lRpjKY50", true},
}

func TestAFingerprintSaysWhichHashItIsToWhoHasIt(t *testing.T) {
	for i, c := range hashForms {
		if fleet.Salted(c.hash) == c.slow {
			t.Errorf("%s: it is %v that a guess need not be dear", c.name, !c.slow)
		}
		if c.slow && i > 0 {
			continue // one is enough: it is slow
		}
		print, secret := fleet.PrintHash(c.hash)
		if hash, err := fleet.HashOf(print, secret); err != nil || hash != c.hash {
			t.Errorf("%s: the secret holds %q, %v", c.name, hash, err)
		}
		if strings.Contains(string(secret), "\n") || len(print) != 64 {
			t.Errorf("%s: the secret is no line, or the fingerprint %q no word of 64", c.name, print)
		}
		salt, err := base64.RawURLEncoding.DecodeString(print)
		if err != nil {
			t.Fatal(err)
		}
		key, err := pbkdf2.Key(sha256.New, c.hash, salt[:16], 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		if fast := strings.HasPrefix(string(secret), base64.RawURLEncoding.EncodeToString(key)); fast == c.slow {
			t.Errorf("%s: it is %v that a guess costs one round", c.name, fast)
		}
		if c.slow {
			continue
		}
		if again, ok := fleet.MatchHash(print, c.hash); !ok || string(again) != string(secret) {
			t.Errorf("%s: its fingerprint is not found to be its own", c.name)
		}
		if other, _ := fleet.PrintHash(c.hash); other == print {
			t.Errorf("%s: two fingerprints are the same, so that equal passwords show", c.name)
		}
	}
}

func TestNoOtherHashPassesForTheOneOfAFingerprint(t *testing.T) {
	bcrypt, sha512 := hashForms[5].hash, hashForms[7].hash
	print, secret := fleet.PrintHash(sha512)
	_, others := fleet.PrintHash(bcrypt)
	key, _, _ := strings.Cut(string(secret), " ")
	for what, text := range map[string]string{
		"another's": string(others), "another's with this key": key + " " + bcrypt, "nothing": "", "no hash": key + " secret", "no key": " " + sha512,
		"the hash alone": sha512, "another key": "A" + string(secret), "with more": string(secret) + "\nroot:x",
	} {
		if hash, err := fleet.HashOf(print, []byte(text)); fleet.KindOf(err) != fleet.Invalid || strings.Contains(err.Error(), "$") {
			t.Errorf("%s passes for it: %q, %v", what, hash, err)
		}
	}
	for _, other := range []string{"", "x", strings.Repeat("A", 64), print[1:] + "A", print + "A", strings.Repeat("é", 32)} {
		if _, ok := fleet.MatchHash(other, sha512); ok {
			t.Errorf("%q passes for its fingerprint", other)
		}
		if _, err := fleet.HashOf(other, secret); err == nil {
			t.Errorf("%q passes for its fingerprint", other)
		}
	}
	if _, ok := fleet.MatchHash(print, bcrypt); ok {
		t.Error("another hash passes for its own")
	}
}

func TestPasswordsAreWrittenShownAndStoredInFormsOfTheirOwn(t *testing.T) {
	print, _ := fleet.PrintHash(hashForms[7].hash)
	with := func(b fleet.BasicAuth) fleet.Faults { h := shop(); h.BasicAuth = &b; return h.Validate() }
	hash, shown, stored := fleet.User{Name: "a", Hash: hashForms[7].hash}, fleet.User{Name: "b", Fingerprint: print}, fleet.User{Name: "c", Fingerprint: print, SealedHash: "X.abc"}
	both, half, odd, long := hash, fleet.User{Name: "d", SealedHash: "X.abc"}, stored, stored
	both.Fingerprint, odd.SealedHash, long.SealedHash = print, "a b;", strings.Repeat("a", fleet.MaxSealedHash+1)
	users := func(all ...fleet.User) []fleet.User { return all }
	for what, c := range map[string]struct {
		auth fleet.BasicAuth
		path string // of the fault, "" where it is right
	}{
		"as people write it":       {fleet.BasicAuth{Users: users(hash)}, ""},
		"as it is shown":           {fleet.BasicAuth{Users: users(shown)}, ""},
		"shown, and one is new":    {fleet.BasicAuth{Users: users(shown, hash)}, ""},
		"as it is stored":          {fleet.BasicAuth{Users: users(stored), SealedTo: "X"}, ""},
		"as a node has it":         {fleet.BasicAuth{Users: users(shown), SealedUsers: "X.abc", SealedTo: "X"}, ""},
		"hash and fingerprint":     {fleet.BasicAuth{Users: users(both)}, "users[0].fingerprint"},
		"neither":                  {fleet.BasicAuth{Users: users(fleet.User{Name: "a"})}, "users[0].hash"},
		"no fingerprint":           {fleet.BasicAuth{Users: users(fleet.User{Name: "a", Fingerprint: "abc"})}, "users[0].fingerprint"},
		"sealed and nothing said":  {fleet.BasicAuth{Users: users(half), SealedTo: "X"}, "users[0].hash"},
		"sealed to nobody":         {fleet.BasicAuth{Users: users(stored)}, "sealedTo"},
		"nothing sealed":           {fleet.BasicAuth{Users: users(shown), SealedTo: "X"}, "sealedTo"},
		"one is not sealed":        {fleet.BasicAuth{Users: users(stored, hash), SealedTo: "X"}, "sealedTo"},
		"sealed twice":             {fleet.BasicAuth{Users: users(stored), SealedUsers: "X.abc", SealedTo: "X"}, "sealedUsers"},
		"sealed together to whom":  {fleet.BasicAuth{Users: users(shown), SealedUsers: "X.abc"}, "sealedTo"},
		"no word":                  {fleet.BasicAuth{Users: users(odd), SealedTo: "X"}, "users[0].sealedHash"},
		"too long":                 {fleet.BasicAuth{Users: users(long), SealedTo: "X"}, "users[0].sealedHash"},
		"no word for all of them":  {fleet.BasicAuth{Users: users(shown), SealedUsers: "a b;", SealedTo: "X"}, "sealedUsers"},
		"no password, and secrets": {fleet.BasicAuth{Off: true, SealedTo: "X"}, "off"},
	} {
		faults := with(c.auth)
		if (len(faults) == 0) != (c.path == "") || len(faults) > 0 && faults[0].Path != "spec.basicAuth."+c.path {
			t.Errorf("%s: %v, want a fault at %q", what, faults, c.path)
		}
	}
}

func TestAHostShowsFingerprintsAndNothingSealed(t *testing.T) {
	print, _ := fleet.PrintHash(hashForms[7].hash)
	h := shop()
	h.BasicAuth = &fleet.BasicAuth{Users: []fleet.User{{Name: "a", Fingerprint: print, SealedHash: "X.abc"}}, SealedTo: "X"}
	h.Locations[0].BasicAuth = &fleet.BasicAuth{Users: []fleet.User{{Name: "a", Fingerprint: print}}, SealedUsers: "Y.abc", SealedTo: "Y"}
	if to := fleet.SealedTo(h); len(to) != 2 || to[0] != "X" || to[1] != "Y" {
		t.Errorf("it is sealed to %v", to)
	}
	shown := fleet.Shown(fleet.Resource{Kind: "VirtualHost", Spec: h}).Spec.(*fleet.VirtualHost)
	if to := fleet.SealedTo(shown); len(to) > 0 || shown.BasicAuth.Users[0].SealedHash+shown.Locations[0].BasicAuth.SealedUsers != "" || shown.BasicAuth.Users[0].Fingerprint != print {
		t.Errorf("shown is %+v", shown.BasicAuth)
	}
	if h.BasicAuth.Users[0].SealedHash == "" || h.BasicAuth.SealedTo == "" || h.Locations[0].BasicAuth.SealedUsers == "" {
		t.Error("showing it changed it")
	}
}
