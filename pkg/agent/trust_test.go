package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// ruled is a fleet of the test's own, whose trust set it changes.
func ruled(t *testing.T) *system {
	t.Helper()
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	s.stationHere(t, t.Cleanup, nil)
	s.connect(t, t.Cleanup)
	return s
}

// spread has the authority sign what it knows now, and stores it.
func (s *system) spread(t *testing.T) (version uint64) {
	t.Helper()
	m, err := s.authority.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	return s.put(t, m)
}

func (s *system) put(t *testing.T, m message.Message) (version uint64) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	if err := s.client.Conn().PutTrust(ctx, m); err != nil {
		t.Fatal(err)
	}
	return versionOf(t, m)
}

func versionOf(t *testing.T, m message.Message) uint64 {
	t.Helper()
	set, err := message.OpenTrust(m)
	if err != nil {
		t.Fatal(err)
	}
	return set.Version
}

// force stores what nobody should believe, as an administrator can.
func (s *system) force(t *testing.T, m message.Message) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	if _, err := s.client.Conn().Put(ctx, subjects.Trust, bus.Change{Key: subjects.TrustKey, Document: m, Expect: bus.Any}); err != nil {
		t.Fatal(err)
	}
}

// revoke takes a user's key back and stores the set that says so.
func (s *system) revoke(t *testing.T, name string) (version uint64) {
	t.Helper()
	if _, err := s.authority.Revoke(name, "left"); err != nil {
		t.Fatal(err)
	}
	return s.spread(t)
}

// believes waits until an agent believes a version of the trust set.
func believes(t *testing.T, a *agent.Agent, version uint64) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	for {
		changed := a.Trust().Changed()
		if a.Trust().Current().Version >= version {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("trust set %d is believed, want %d", a.Trust().Current().Version, version)
		}
	}
}

// refuses fails unless a command ended rejected, for a reason, without a run.
func (n *node) refuses(t *testing.T, id, reason string) {
	t.Helper()
	end := n.end(t, id)
	if end.State != message.Rejected || end.Kind != fleet.Refused || !strings.Contains(end.Message, reason) {
		t.Errorf("it ended %s (%s): %s; want %q", end.State, end.Kind, end.Message, reason)
	}
	if n.count(t, id) > 0 {
		t.Error("it ran")
	}
}

const revoked = "the key of olga was revoked on "

func TestAUserWhoIsRevokedIsRefusedByANodeThatIsThere(t *testing.T) {
	t.Parallel()
	s := ruled(t)
	n := s.newNode(t)
	a, _ := n.run(t, nil)
	before, after := n.signed(t, "olga", work, nil), n.signed(t, "olga", work, nil)
	n.publish(t, encoded(before))
	if end := n.end(t, before.ID); end.State != message.Succeeded {
		t.Fatalf("it ended %s: %s", end.State, end.Message)
	}
	believes(t, a, s.revoke(t, "olga"))
	n.publish(t, encoded(after))
	n.refuses(t, after.ID, revoked)
	n.wellAfter(t)
}

func TestACommandThatWaitedIsJudgedAgainWhenItBegins(t *testing.T) {
	t.Parallel()
	s := ruled(t)
	n := s.newNode(t)
	a, _ := n.run(t, nil)
	n.begun(t, work, "x", "a")
	m := n.signed(t, "olga", work, func(m *message.Message) { m.Subject = n.subject(work, "x") })
	n.publish(t, encoded(m))
	n.do(t, n.command(serial, "y", "")) // came behind it, so it waits in its lane
	believes(t, a, s.revoke(t, "olga"))
	n.open(t, "a")
	n.refuses(t, m.ID, revoked)
	n.wellAfter(t)
}

func TestACommandOfWhoWasRevokedMeanwhileIsRejectedAtTheNextConnection(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(t *testing.T, n *node) (back func()){
		"the agent was stopped": func(t *testing.T, n *node) func() {
			n.start(t, nil)()
			return func() { n.start(t, nil) }
		},
		"the link was cut": func(t *testing.T, n *node) func() {
			p := newProxy(t, n.url)
			n.start(t, func(c *agent.Config) { c.URL = p.url() })
			n.subscribed(t)
			p.cut()
			return p.heal
		},
	} {
		for _, stations := range []bool{true, false} {
			if !stations {
				name += ", and no station answers"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := ownSystem(t)
				s.brokerHere(t, t.Cleanup)
				stop := s.stationHere(t, t.Cleanup, nil)
				s.connect(t, t.Cleanup)
				n := s.newNode(t)
				back := away(t, n)
				m := n.signed(t, "olga", work, nil)
				n.publish(t, encoded(m))
				others := n.send(t, n.command(work, "x", ""))
				s.revoke(t, "olga")
				if !stations {
					stop()
				}
				back()
				n.refuses(t, m.ID, revoked)
				if end := n.end(t, others[0]); end.State != message.Succeeded {
					t.Errorf("another's command ended %s: %s", end.State, end.Message)
				}
			})
		}
	}
}

func TestAnAgentDoesNotGoBackBehindWhatItBelieved(t *testing.T) {
	t.Parallel()
	s := ruled(t)
	n := s.newNode(t)
	a, stop := n.run(t, nil)
	first := a.Trust().Message()
	m := n.signed(t, "olga", work, nil)
	second := s.revoke(t, "olga")
	believes(t, a, second)
	kept := filepath.Join(n.state, "trust.json")
	eventually(t, "the set that is believed is kept", func() bool {
		data, _ := os.ReadFile(kept)
		m, err := message.DecodeTrust(data)
		if err != nil {
			return false
		}
		set, err := message.OpenTrust(m)
		return err == nil && set.Version == second
	})
	stop()
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the set is kept as %v, %v", info, err)
	}

	s.force(t, first)
	a, stop = n.run(t, func(c *agent.Config) { c.Trust = first })
	n.publish(t, encoded(m))
	n.refuses(t, m.ID, revoked)
	if got := a.Trust().Current().Version; got != second {
		t.Errorf("trust set %d is believed", got)
	}
	n.wellAfter(t)
	stop()

	// What is damaged gives way to what the agent was given.
	if err := os.WriteFile(kept, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := s.spread(t) // the stations have stored it again, or this does
	a, _ = n.run(t, func(c *agent.Config) { c.Trust = first })
	believes(t, a, third)
}

func TestAForgedTrustSetChangesNothing(t *testing.T) {
	t.Parallel()
	s := ruled(t)
	n := s.newNode(t)
	a, _ := n.run(t, nil)
	mallory := s.creds(t, "mallory")
	set := a.Trust().Current()
	set.Version, set.Signers = 100, []string{mallory.Key}
	set.Keys = []message.TrustedKey{{Key: mallory.Key, Name: "mallory", Role: subjects.Admin, Methods: []string{"*"}}}
	forged, err := message.SignTrust(set, mallory)
	if err != nil {
		t.Fatal(err)
	}
	s.force(t, forged)
	m := n.signed(t, "mallory", work, nil)
	n.publish(t, encoded(m))
	n.refuses(t, m.ID, "is not one that "+n.name+" trusts")
	believes(t, a, s.revoke(t, "vera")) // the next right one takes its place
	if set := a.Trust().Current(); set.Version >= 100 {
		t.Errorf("trust set %d is believed", set.Version)
	}
}

func TestAnAgentThatWasAwayFollowsSeveralChangesOfSigners(t *testing.T) {
	t.Parallel()
	s := ruled(t)
	n := s.newNode(t)
	first, err := trustOf(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, finish := range []bool{false, true} {
			m, err := s.authority.RotateTrust(finish)
			if err != nil {
				t.Fatal(err)
			}
			s.put(t, m)
		}
		s.spread(t)
	}
	last := s.revoke(t, "olga")
	a, _ := n.run(t, func(c *agent.Config) { c.Trust = first })
	believes(t, a, last)
	n.wellAfter(t)
}

func TestALimitedUserIsRefusedByTheNodeItselfWithTheReason(t *testing.T) {
	t.Parallel()
	s := ruled(t)
	n, other := s.newNode(t), s.newNode(t)
	limited := identity.New{Name: "lina", Role: subjects.Operator, Limits: subjects.Limits{Nodes: []string{n.name}, Methods: []string{work}}}
	if _, err := s.authority.Create(limited); err != nil {
		t.Fatal(err)
	}
	version := s.spread(t)
	for _, node := range []*node{n, other} {
		a, _ := node.run(t, nil)
		believes(t, a, version)
	}
	// Published by somebody who may, as a broker can that was broken into.
	m := n.signed(t, "lina", work, nil)
	n.publish(t, encoded(m))
	if end := n.end(t, m.ID); end.State != message.Succeeded {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
	m = n.signed(t, "lina", serial, nil)
	n.publish(t, encoded(m))
	n.refuses(t, m.ID, "lina is operator and may not send serial, only work")
	m = other.signed(t, "lina", work, nil)
	n.publish(t, encoded(m))
	other.refuses(t, m.ID, "lina may not command "+other.name)
}
