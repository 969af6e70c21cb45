package join_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/join"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// agent runs the agent of a host that joined.
func (s *site) agent(j join.Joined, change ...func(*agent.Config)) (stop func()) {
	s.t.Helper()
	node, err := identity.OpenNode(j.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	trust, err := identity.LoadTrust(filepath.Join(j.Dir, identity.NodeTrust))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := agent.Config{Name: j.Name, URL: s.url, Credentials: node, Renewal: node, Trust: trust, State: s.t.TempDir(),
		HealthEvery: 50 * time.Millisecond, NoSync: true}
	for _, c := range change {
		c(&cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return runs(s.t, a.Ready(), a.Run)
}

func (s *site) eventually(what string, f func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(s.t); !f(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatal("never: " + what)
		}
	}
}

// online waits until a station hears the node.
func (s *site) online(name string) {
	s.t.Helper()
	s.eventually(name+" is there", func() bool {
		status, err := s.client.Node(within(s.t), name)
		return err == nil && status.Presence == station.Online
	})
}

// life is what the credentials in a directory say.
func (s *site) life(j join.Joined) (key string, until time.Time) {
	s.t.Helper()
	n, err := identity.OpenNode(j.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	_, until = n.Life()
	return n.PublicKey(), until
}

func TestANodeRenewsItsJWTByItself(t *testing.T) {
	s := running(t, func(c *station.Config) { c.NodeLife = 3 * time.Second })
	j, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	s.agent(j)
	first := j.Until
	for range 2 { // the second one is asked for with the first
		s.eventually("another JWT", func() bool { _, until := s.life(j); return until.After(first) })
		_, first = s.life(j)
	}
	s.told("ship1", message.LifecycleRenewed, j.Key)
	s.online("ship1")
}

func TestANodeThatWasAwayTooLongComesBackByItself(t *testing.T) {
	s := running(t)
	j, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	s.endJWT(j, time.Hour)
	s.agent(j)
	s.eventually("another JWT", func() bool { _, until := s.life(j); return until.After(time.Now().Add(time.Hour)) })
	s.online("ship1")
}

// endJWT gives a node a JWT that ended, and one that lets it renew for a while.
func (s *site) endJWT(j join.Joined, grace time.Duration) {
	s.t.Helper()
	for file, what := range map[string]struct {
		role  subjects.Role
		until time.Time
	}{"node.creds": {subjects.Node, time.Now().Add(-time.Hour)}, "renew.creds": {subjects.Renew, time.Now().Add(grace)}} {
		path := filepath.Join(j.Dir, file)
		data, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		token, err := s.authority.Issuer().Issue(what.role, j.Name, j.Key, what.until)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, replaceJWT(data, token), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestWhoMayNotRenewIsTold(t *testing.T) {
	s := running(t)
	j, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.join(s.token(), "ship2")
	if err != nil {
		t.Fatal(err)
	}
	ship1, err := identity.OpenNode(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	ship2, err := identity.OpenNode(other.Dir)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(as, signer *identity.Node, q message.RenewRequest) error {
		m, err := message.SignBody(message.RenewSubject("ship1"), "ship1", "", q, signer)
		if err != nil {
			t.Fatal(err)
		}
		var reply message.RenewReply
		return s.connect(as).Ask(within(t), subjects.RenewOf("ship1"), message.Enclose(m), &reply)
	}
	fresh := key(t, stranger(t))
	proof, err := message.ProveHeld(message.ToRenew, "ship1", "ship1", fresh)
	if err != nil {
		t.Fatal(err)
	}
	s.refused("another's key", fleet.Refused, "another key for ship1", ask(ship1, ship2, message.RenewRequest{Key: ship2.PublicKey()}))
	s.refused("a key that it does not hold", fleet.Refused, "prove to hold", ask(ship1, ship1, message.RenewRequest{Key: fresh.PublicKey()}))
	s.refused("the proof of joining", fleet.Refused, "prove to hold", ask(ship1, ship1, message.RenewRequest{Key: fresh.PublicKey(), Proof: proof + "A"}))
	s.refused("another node's key", fleet.Refused, "prove to hold", ask(ship1, ship1, message.RenewRequest{Key: ship2.PublicKey(), Proof: proof}))
	s.refused("a person's key", fleet.Refused, "is alice's", ask(ship1, ship1, message.RenewRequest{Key: s.creds("alice", subjects.Admin).Key, Proof: proof}))
	if err := ask(ship1, ship1, message.RenewRequest{Key: ship1.PublicKey()}); err != nil {
		t.Error("its own key:", err)
	}
	if err := ask(ship1, ship1, message.RenewRequest{Key: fresh.PublicKey(), Proof: proof}); err != nil {
		t.Error("a new key:", err)
	}
	if err := ask(ship1, ship1, message.RenewRequest{Key: fresh.PublicKey(), Proof: proof}); err != nil {
		t.Error("the new key again, since the answer was lost:", err)
	}
	s.refused("the former key", fleet.Refused, "another key for ship1", ask(ship1, ship1, message.RenewRequest{Key: ship1.PublicKey()}))

	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	s.refused("a node that was removed", fleet.Refused, "not in the register", ask(ship1, ship1, message.RenewRequest{Key: ship1.PublicKey()}))
}

func TestARevokedNodeDoesNotRenew(t *testing.T) {
	s := running(t)
	j, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	node, err := identity.OpenNode(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.authority.RevokeKeys("stolen", identity.User{Key: j.Key, Name: "ship1", Role: subjects.Node}); err != nil {
		t.Fatal(err)
	}
	s.pushTrust()
	conn := s.connect(node) // the account was not pushed, so the broker takes it
	s.eventually("the station has heard of it", func() bool {
		m, err := message.SignBody(message.RenewSubject("ship1"), "ship1", "", message.RenewRequest{Key: j.Key}, node)
		if err != nil {
			t.Fatal(err)
		}
		var reply message.RenewReply
		err = conn.Ask(within(t), subjects.RenewOf("ship1"), message.Enclose(m), &reply)
		if err != nil {
			s.refused("a key that was revoked", fleet.Refused, "stolen", err)
		}
		return err != nil
	})
}

// Its agent was killed when the station had its new key and it had no answer.
func TestANodeThatWaitsForItsNewKeyAsksAgain(t *testing.T) {
	s := running(t)
	j, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	node, err := identity.OpenNode(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := node.Wanted(true)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := message.ProveHeld(message.ToRenew, "ship1", "ship1", wanted)
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.SignBody(message.RenewSubject("ship1"), "ship1", "", message.RenewRequest{Key: wanted.PublicKey(), Proof: proof}, node)
	if err != nil {
		t.Fatal(err)
	}
	var lost message.RenewReply
	if err := s.connect(node).Ask(within(t), subjects.RenewOf("ship1"), message.Enclose(m), &lost); err != nil {
		t.Fatal(err)
	}
	s.agent(j)
	s.eventually("it has the key", func() bool { key, _ := s.life(j); return key == wanted.PublicKey() })
	s.online("ship1")
}

func TestANodeTakesAnotherKeyAndGoesOn(t *testing.T) {
	s := running(t)
	s.station("station-b")
	j, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	s.agent(j)
	w, err := s.client.Listen(within(t), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	send := func(method, domain, body string) client.Outcome {
		sent, err := s.client.Send(within(t), client.Command{Body: []byte(body),
			Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: method, Domain: domain}})
		if err != nil {
			t.Fatal(err)
		}
		return w.Wait(within(t), sent, nil)[0]
	}
	if o := send("healthreport", "nginx", `{}`); o.State != message.Succeeded {
		t.Fatalf("%+v", o)
	}
	if o := send(handlers.MethodRenewIdentity, "agent", `{"newKey":true}`); o.State != message.Succeeded {
		t.Fatalf("%+v", o)
	}
	key, _ := s.life(j)
	if key == j.Key {
		t.Error("the key is the same")
	}
	if o := send("healthreport", "nginx", `{}`); o.State != message.Succeeded {
		t.Fatalf("%+v", o)
	}
	status, err := s.client.Node(within(t), "ship1")
	if err != nil || status.Key != key {
		t.Error(status.Key, err)
	}
	s.told("ship1", message.LifecycleRotated, key)
	s.online("ship1")

	// What the former key signed is proven to who comes later, too.
	later := s.as("olga", subjects.Operator)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	err = later.Audit(ctx, client.AuditOptions{Node: "ship1"}, func(r client.Record) error {
		if !r.Proven {
			t.Errorf("not proven: %s %s", r.Message.Subject, r.Message.Body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// replaceJWT puts another JWT into a creds file.
func replaceJWT(creds []byte, jwt string) []byte {
	begin, rest, _ := strings.Cut(string(creds), "-----BEGIN NATS USER JWT-----\n")
	_, end, _ := strings.Cut(rest, "\n------END NATS USER JWT------")
	return []byte(begin + "-----BEGIN NATS USER JWT-----\n" + jwt + "\n------END NATS USER JWT------" + end)
}
