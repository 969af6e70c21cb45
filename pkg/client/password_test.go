package client_test

import (
	"strings"
	"testing"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func hostWith(users ...fleet.User) *fleet.VirtualHost {
	return &fleet.VirtualHost{BasicAuth: &fleet.BasicAuth{Users: users}, Locations: []fleet.Location{{Path: "/"}, {Path: "/a/", BasicAuth: &fleet.BasicAuth{Users: users}}}}
}

func TestAnotherKeyOfTheStationsNeedsTheHashAndKeepsTheFingerprint(t *testing.T) {
	const hash, other = "$apr1$3f9cBatt$bEkcXebmrjDYFfLTAb1qD.", "$6$Qw8dPz2k$HGzlX6DBFoD5wvaNfccMncOc/kAC4joMOO5XHKBeovy3LKMygaWacOS6MDFVGlshYGm3UwJBDY4YtHO7pTBr81"
	curves := make([]message.Curve, 2)
	for i := range curves {
		var err error
		if curves[i], _, err = message.NewCurve(); err != nil {
			t.Fatal(err)
		}
	}
	seal := func(h, have *fleet.VirtualHost, to message.Curve) *fleet.VirtualHost {
		t.Helper()
		sealed, faults, err := client.SealHost(h, have, to.Public())
		if err != nil || len(faults) > 0 {
			t.Fatal(faults, err)
		}
		for _, b := range sealed.BasicAuths() {
			for i, u := range b.Users {
				secret, err := to.Open(u.SealedHash)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := fleet.HashOf(u.Fingerprint, secret); err != nil || u.Hash != "" || b.SealedTo != to.Public() || h.BasicAuth.Users[i].Hash != "" && got != h.BasicAuth.Users[i].Hash {
					t.Errorf("%s is stored as %+v and holds another hash, %v", u.Name, u, err)
				}
			}
		}
		return sealed
	}
	written := hostWith(fleet.User{Name: "ann", Hash: hash}, fleet.User{Name: "bob", Hash: other})
	first := seal(written, nil, curves[0])
	if written.BasicAuth.Users[0].Hash != hash || written.BasicAuth.SealedTo != "" {
		t.Error("sealing changed what was written")
	}
	if first.BasicAuth.Users[0] != first.Locations[1].BasicAuth.Users[0] {
		t.Error("the same password is sealed twice for one host")
	}
	same := func(a, b *fleet.VirtualHost, sealed bool) {
		t.Helper()
		for i, u := range a.BasicAuth.Users {
			v := b.BasicAuth.Users[i]
			if u.Fingerprint != v.Fingerprint || (u.SealedHash == v.SealedHash) != sealed {
				t.Errorf("%+v became %+v", u, v)
			}
		}
	}
	same(first, seal(written, first, curves[0]), true)
	same(first, seal(first, nil, curves[0]), true) // as it is stored, by hand
	shown := fleet.Shown(fleet.Resource{Spec: first}).Spec.(*fleet.VirtualHost)
	same(first, seal(shown, first, curves[0]), true)

	_, faults, err := client.SealHost(shown, first, curves[1].Public())
	if err != nil || len(faults) != 4 || faults[0].Path != "spec.basicAuth.users[0].fingerprint" || faults[2].Path != "spec.locations[1].basicAuth.users[0].fingerprint" ||
		!strings.Contains(faults[0].Message, "write the hash") {
		t.Errorf("fingerprints alone, after the stations' key became another: %v, %v", faults, err)
	}
	same(first, seal(written, first, curves[1]), false)

	// Another's fingerprint is nothing.
	if _, faults, _ := client.SealHost(hostWith(fleet.User{Name: "eve", Fingerprint: first.BasicAuth.Users[0].Fingerprint}), first, curves[0].Public()); len(faults) != 2 {
		t.Errorf("under another name it stands for %v", faults)
	}
}
