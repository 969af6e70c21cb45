package identity_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestEverybodysJWTEnds(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), identity.Options{})
	for role, life := range map[subjects.Role]time.Duration{
		subjects.Admin: identity.PersonLife, subjects.Station: identity.PersonLife, subjects.Node: identity.NodeLife,
	} {
		u, err := a.User("u-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Expires.Sub(u.Issued).Round(time.Minute); got != life {
			t.Errorf("%s holds for %v, want %v", role, got, life)
		}
	}
	u, err := a.Create(identity.New{Name: "guest", Role: subjects.Viewer, Life: 8 * time.Hour})
	if err != nil || u.Expires.Sub(u.Issued).Round(time.Minute) != 8*time.Hour {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestAJWTIsRenewedForItsKeyAtTwoThirdsOfItsLife(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(t.TempDir(), "bob.creds")
	now := time.Now()
	o := identity.Options{Now: func() time.Time { return now }}
	a := open(t, dir, o)
	if _, err := a.Create(identity.New{Name: "bob", Role: subjects.Viewer, Out: out}); err != nil {
		t.Fatal(err)
	}
	alice, err := a.User("alice", subjects.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.User("ship1", subjects.Node); err != nil {
		t.Fatal(err)
	}
	now = now.Add(identity.PersonLife*2/3 - time.Hour)
	if due, err := a.RenewDue(); err != nil || len(due) != 0 {
		t.Errorf("due an hour before two thirds: %v, %v", due, err)
	}
	now = now.Add(2 * time.Hour)
	due, err := a.RenewDue()
	if err != nil || len(due) != 2 || due[0].Name != "alice" || due[0].Key != alice.Key || due[1].Name != "bob" {
		t.Fatalf("due an hour after: %v, %v", due, err)
	}
	for _, u := range due {
		if !u.Expires.After(now.Add(identity.PersonLife - time.Hour)) {
			t.Errorf("%s has it until %v", u.Name, u.Expires)
		}
	}
	if c, err := identity.LoadCreds(alice.CredsFile); err != nil || c.UserJWT() != due[0].JWT() {
		t.Errorf("the creds file in the directory is not renewed: %v", err)
	}
	if c, err := identity.LoadCreds(out); err != nil || c.UserJWT() == due[1].JWT() {
		t.Errorf("a creds file that was given away was written to: %v", err)
	}
}

func TestUserRenewsWhatIsDue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := open(t, dir, identity.Options{}).User("ship1", subjects.Node)
	if err != nil {
		t.Fatal(err)
	}
	later := identity.Options{Now: func() time.Time { return time.Now().Add(70 * 24 * time.Hour) }}
	again, err := open(t, dir, later).User("ship1", subjects.Node)
	if err != nil || again.Key != first.Key || !again.Expires.After(first.Expires) {
		t.Errorf("%+v, %v; was %+v", again, err, first)
	}
}

func TestExpiringTellsWhatEndsAndWhatRenewsIt(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), identity.Options{})
	for name, life := range map[string]time.Duration{"soon": 24 * time.Hour, "later": 20 * 24 * time.Hour, "far": 200 * 24 * time.Hour} {
		if _, err := a.Create(identity.New{Name: name, Role: subjects.Viewer, Life: life}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := a.Expiring(time.Now().Add(30 * 24 * time.Hour))
	if err != nil || len(all) != 2 || all[0].Name != "soon" || all[1].Name != "later" || !strings.Contains(all[0].Renew, "user renew soon") {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatNobodyCanBeMadeOf(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload", "shellcommand"}}})
	many := make([]string, 101)
	for i := range many {
		many[i] = "ship" + strings.Repeat("x", i%50) + string(rune('a'+i/50))
	}
	for want, n := range map[string]identity.New{
		"name":                     {Name: "a.b", Role: subjects.Admin},
		"use admin, operator":      {Name: "a", Role: subjects.Join},
		"ttl":                      {Name: "a", Role: subjects.Admin, Life: time.Second},
		"admin cannot be limited":  {Name: "a", Role: subjects.Admin, Limits: subjects.Limits{Nodes: []string{"ship1"}}},
		`may not send "bake"`:      {Name: "a", Role: subjects.Operator, Limits: subjects.Limits{Methods: []string{"bake"}}},
		"node name":                {Name: "a", Role: subjects.Operator, Limits: subjects.Limits{Nodes: []string{"*"}}},
		"are 202 pairs: at most 2": {Name: "a", Role: subjects.Operator, Limits: subjects.Limits{Nodes: many}},
	} {
		if _, err := a.Create(n); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", n.Name, err, want)
		}
	}
	if _, err := a.User("alice", subjects.Admin); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Create(identity.New{Name: "alice", Role: subjects.Viewer}); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("a second alice: %v", err)
	}
}
