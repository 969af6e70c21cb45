package client_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/identity"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// curve restarts the station with the newest keys of the tenant.
func (s *site) curve() message.StationCurve {
	s.t.Helper()
	path, err := s.authority.StationKeys()
	if err != nil {
		s.t.Fatal(err)
	}
	keys, err := identity.LoadStationKeys(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.stopStation()
	s.stopStation = s.runStation(func(c *station.Config) { c.Curve = keys.Curve })
	return keys.Curve
}

func (s *site) certificate(p certtest.Pair) uint64 {
	s.t.Helper()
	dir := s.t.TempDir()
	p.Write(s.t, dir, "a.crt", "a.key")
	path := filepath.Join(dir, "a.yaml")
	text := "apiVersion: fairlead/v1\nkind: Certificate\nmetadata: {name: a}\nspec: {certificateFile: a.crt, keyFile: a.key}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	resources, err := manifest.Load(path)
	if err != nil {
		s.t.Fatal(err)
	}
	plan, err := s.client.Plan(within(s.t), resources, false)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.done(s.client, plan)
}

func TestACertificateGoesBackAcrossANewCurveKeyWhileTheOldOneIsKept(t *testing.T) {
	s := open(t)
	s.curve()
	authority := certtest.New(t)
	first, second := authority.Issue("a.example.org"), authority.Issue("a.example.org")
	one := s.certificate(first)
	two := s.certificate(second)
	back := func(to uint64) (fleet.Certificate, error) {
		p, err := s.client.Rollback(within(t), "Certificate", "a", to)
		if err != nil {
			return fleet.Certificate{}, err
		}
		s.done(s.client, p)
		found, err := s.client.Resources(within(t), "Certificate", "a")
		if err != nil || len(found) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		return *found[0].Spec.(*fleet.Certificate), nil
	}
	if err := s.authority.RotateCurve(); err != nil {
		t.Fatal(err)
	}
	now := s.curve()
	got, err := back(one)
	if err != nil {
		t.Fatal(err)
	}
	key, err := now.Curve.Open(got.SealedKey) // without the older ones
	if err != nil || string(key) != string(first.Key) || got.SealedTo != now.Public() || got.Certificate != string(first.Chain) {
		t.Errorf("%v: it is sealed to %s, the stations' is %s", err, got.SealedTo, now.Public())
	}
	if err := s.authority.FinishCurve(); err != nil {
		t.Fatal(err)
	}
	s.curve()
	_, err = back(two)
	kind(t, err, fleet.Refused)
	if !strings.Contains(fmt.Sprint(err), "apply the certificate with its keyFile again") || strings.Contains(fmt.Sprint(err), got.SealedKey) {
		t.Error(err)
	}
	if same, err := back(one); err != nil || same.SealedKey != got.SealedKey { // it is what is stored
		t.Errorf("%v, sealed anew: %v", err, same.SealedKey != got.SealedKey)
	}
}

func TestAHostGoesBackToItsPasswordsAcrossANewCurveKeyWhileTheOldOneIsKept(t *testing.T) {
	const first, second = "$apr1$3f9cBatt$bEkcXebmrjDYFfLTAb1qD.", "$apr1$hUTTN4Uj$f4TBbfNXOcgRwkUPHtL3w."
	s := open(t)
	s.curve()
	host := func(hash string) uint64 {
		t.Helper()
		set, err := manifest.Read("a.yaml", strings.NewReader(fmt.Sprintf("{apiVersion: fairlead/v1, kind: VirtualHost, metadata: {name: a}, spec: {listen: [{port: 80}], "+
			"serverNames: [_], basicAuth: {users: [{name: ann, hash: %q}]}, locations: [{path: /, return: {code: 200}}]}}", hash)))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := s.client.Plan(within(t), set, false)
		if err != nil {
			t.Fatal(err)
		}
		return s.done(s.client, plan)
	}
	one, two := host(first), host(second)
	back := func(to uint64) (fleet.BasicAuth, error) {
		t.Helper()
		p, err := s.client.Rollback(within(t), "VirtualHost", "a", to)
		if err != nil {
			return fleet.BasicAuth{}, err
		}
		if len(p.Resources[0].Passwords) != 1 {
			t.Errorf("it tells of other passwords: %v", p.Resources[0].Passwords)
		}
		s.done(s.client, p)
		found, err := s.client.Resources(within(t), "VirtualHost", "a")
		if err != nil || len(found) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		return *found[0].Spec.(*fleet.VirtualHost).BasicAuth, nil
	}
	if err := s.authority.RotateCurve(); err != nil {
		t.Fatal(err)
	}
	now := s.curve()
	got, err := back(one)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := now.Curve.Open(got.Users[0].SealedHash) // without the older ones
	if err != nil || got.SealedTo != now.Public() {
		t.Fatalf("%v: it is sealed to %s, the stations' is %s", err, got.SealedTo, now.Public())
	}
	if hash, err := fleet.HashOf(got.Users[0].Fingerprint, secret); err != nil || hash != first {
		t.Errorf("it went back to the hash %s, %v", hash, err)
	}
	if err := s.authority.FinishCurve(); err != nil {
		t.Fatal(err)
	}
	s.curve()
	_, err = back(two)
	kind(t, err, fleet.Refused)
	if !strings.Contains(fmt.Sprint(err), "apply the host with the hash again") || strings.Contains(fmt.Sprint(err), "$apr1$") {
		t.Error(err)
	}
}
