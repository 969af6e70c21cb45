package station_test

import (
	"errors"
	"testing"
	"time"

	"fairlead/pkg/announce"
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// A station and the clients of people take up their own renewed JWTs, and none
// that somebody else put there.
func TestAStationAndPeopleTakeUpTheirRenewedJWTs(t *testing.T) {
	s := open(t)
	before := s.users["station-a"].UserJWT()
	life := 48 * time.Hour
	renew := func(name string) identity.User {
		t.Helper()
		life += time.Hour // another text also within one second
		u, err := s.authority.Renew(name, life)
		if err != nil {
			t.Fatal(err)
		}
		to := bus.Options{URL: s.url, Credentials: s.users["alice"]}
		if _, err := announce.Trust(t.Context(), s.authority, to, u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	holds := func(name string, u identity.User) {
		t.Helper()
		for deadline := time.After(patience); s.users[name].UserJWT() != u.JWT(); {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-deadline:
				t.Fatalf("%s holds the old JWT", name)
			}
		}
		if c, err := identity.LoadCreds(u.CredsFile); err != nil || c.UserJWT() != u.JWT() {
			t.Errorf("the creds file of %s: %v", name, err)
		}
	}

	// What is there when it starts, and what comes while it runs.
	first := renew("station-a")
	s.station(nil)
	holds("station-a", first)
	if before == first.JWT() {
		t.Error("nothing was renewed")
	}
	holds("station-a", renew("station-a"))

	// A document that a mere administrator signed says nothing.
	u, err := s.authority.Renew("station-a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	kept := s.users["station-a"].UserJWT()
	m, err := s.authority.RenewedJWT(u)
	if err = errors.Join(err, m.Sign(s.users["alice"])); err != nil {
		t.Fatal(err)
	}
	admin := s.conn("alice", subjects.Admin)
	if err := admin.PutRenewed(t.Context(), u.Key, m); err != nil {
		t.Fatal(err)
	}
	// One that it takes comes behind it: by then it has refused the other.
	last := renew("station-a")
	holds("station-a", last)
	if kept == last.JWT() || last.JWT() == u.JWT() {
		t.Error("nothing was renewed behind it")
	}
}
