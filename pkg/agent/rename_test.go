package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/journal"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/pkg/syslog"
	"fairlead/subjects"
)

// renamableConfig is that of an agent whose identity lies in a directory.
func renamableConfig(dir, url, state, at string) (agent.Config, error) {
	trust, err := trustOf(dir)
	if err != nil {
		return agent.Config{}, err
	}
	id, err := identity.OpenNode(at)
	if err != nil {
		return agent.Config{}, err
	}
	return agent.Config{Name: id.UserName(), Version: "test", URL: url, Credentials: id, Renewal: id, Succession: id, Trust: trust, State: state,
		HealthEvery: -1, Grace: time.Second, Registry: registry(effectsOf(state), nil)}, nil
}

// beRenamable runs an agent, anew where it wants that, as the command line does.
func beRenamable(ctx context.Context, c child, checkpoint func(string)) error {
	for {
		cfg, err := renamableConfig(c.Dir, c.URL, c.State, c.Identity)
		if err != nil {
			return err
		}
		cfg.Checkpoint = checkpoint
		a, err := agent.New(cfg)
		if err != nil {
			return err
		}
		var anew *agent.Anew
		if err := a.Run(ctx); !errors.As(err, &anew) || ctx.Err() != nil {
			return err
		}
	}
}

// renamable is a fleet with a station that issues nodes.
func renamable(t *testing.T) *system {
	t.Helper()
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	s.issuing(t)
	s.connect(t, t.Cleanup)
	return s
}

// issuing runs a station that issues nodes; the returned func ends it.
func (s *system) issuing(t *testing.T) (stop func()) {
	t.Helper()
	return s.stationHere(t, t.Cleanup, func(c *station.Config) { c.Issuer = s.authority.Issuer() })
}

// bearer is a node with an identity of its own.
type bearer struct {
	*system
	t                     *testing.T
	name, state, identity string
}

func (s *system) bearer(t *testing.T, name string) *bearer {
	t.Helper()
	n := &bearer{system: s, t: t, name: name, state: filepath.Join(s.dir, name), identity: filepath.Join(s.dir, name+"-identity")}
	id, err := s.authority.Node(n.identity, name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := patient(t)
	defer cancel()
	if err := s.client.Register(ctx, station.NodeRecord{Name: name, Key: id.PublicKey(), Labels: map[string]string{"role": "edge"}, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *bearer) spawn(killAt string) *process {
	n.t.Helper()
	return spawn(n.t, child{Part: "agent", Dir: n.dir, URL: n.url, State: n.state, Identity: n.identity, KillAt: killAt})
}

// is is the name that the node has on its disk.
func (n *bearer) is() string {
	n.t.Helper()
	id, err := identity.OpenNode(n.identity)
	if err != nil {
		n.t.Fatal(err)
	}
	return id.UserName()
}

func (n *bearer) rename(ctx context.Context, to string) error {
	way, err := n.client.Renaming(ctx, n.name, to)
	if err == nil {
		_, _, err = n.client.Rename(ctx, way, func(string) {})
	}
	return err
}

// presence is that of a node by the station, "" for none of that name.
func (n *bearer) presence(name string) string {
	n.t.Helper()
	ctx, cancel := patient(n.t)
	defer cancel()
	d, err := n.client.Node(ctx, name)
	if err != nil && fleet.KindOf(err) != fleet.Unknown {
		n.t.Fatal(err)
	}
	return d.Presence
}

// ended holds that every command to a node has one final answer, and returns them
// by method.
func (n *bearer) ended(name string) map[string][]message.State {
	n.t.Helper()
	ctx, cancel := patient(n.t)
	defer cancel()
	all := make(map[string][]message.State)
	for id, r := range n.commands(ctx, name) {
		if len(r.ends) != 1 {
			n.t.Errorf("%s.%s %s has the ends %v", name, r.method, id, r.ends)
		}
		all[r.method] = append(all[r.method], r.ends...)
	}
	return all
}

type told struct {
	method string
	ends   []message.State
}

func (n *bearer) commands(ctx context.Context, name string) map[string]*told {
	n.t.Helper()
	all := make(map[string]*told)
	open := func() bool {
		for _, r := range all {
			if len(r.ends) == 0 {
				return true
			}
		}
		return false
	}
	for first := true; first || open() && ctx.Err() == nil; first = false {
		clear(all)
		err := n.client.Audit(ctx, client.AuditOptions{Node: name}, func(r client.Record) error {
			switch m := r.Message; {
			case m.Subject.Direction == subjects.Command:
				all[m.ID] = &told{method: m.Subject.Method}
			case m.State.Final() && all[m.Command] != nil:
				all[m.Command].ends = append(all[m.Command].ends, m.State)
			}
			return nil
		})
		if err != nil {
			n.t.Fatal(err)
		}
	}
	return all
}

func TestAKillAtAnyPointOfARenameLeavesOneNodeAndTheRenameGoesOn(t *testing.T) {
	s := renamable(t)
	for _, point := range []string{agent.PointReceived, agent.PointEntered, agent.PointKept, agent.PointDone, agent.PointFinished,
		agent.PointPublished, agent.PointSettled, agent.PointLeft, agent.PointBecame} {
		t.Run("at "+point, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := patient(t)
			defer cancel()
			n := s.bearer(t, "old-"+point)
			to := "new-" + point
			p := n.spawn(point)
			eventually(t, "it is there", func() bool { return n.presence(n.name) == station.Online })
			sctx, leave := context.WithCancel(ctx)
			first := make(chan error, 1)
			go func() { first <- n.rename(sctx, to) }()
			p.killed(t)
			leave() // who had sent it is gone, too
			<-first
			want := n.name
			if point == agent.PointBecame {
				want = to
			}
			if n.is() != want {
				t.Errorf("killed, it is %s, want %s", n.is(), want)
			}
			n.spawn("")
			eventually(t, "it is there again", func() bool { return n.presence(n.name) == station.Online || n.presence(to) == station.Online })
			if err := n.rename(ctx, to); err != nil {
				t.Fatal(err)
			}
			if n.is() != to || n.presence(to) != station.Online {
				t.Errorf("it is %s; %s is %q", n.is(), to, n.presence(to))
			}
			eventually(t, "the old name is gone", func() bool { return n.presence(n.name) == "" })
			ends := n.ended(n.name)[handlers.MethodRename]
			if !slices.Contains(ends, message.Succeeded) && !slices.Contains(ends, message.Cancelled) {
				t.Errorf("the commands ended %v", ends)
			}
			if err := n.rename(ctx, to); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

func TestANodeThatMayNotTakeTheNameStaysWhatItIs(t *testing.T) {
	s := renamable(t)
	n, other := s.bearer(t, "ship1"), s.bearer(t, "ship2")
	ctx, cancel := patient(t)
	defer cancel()
	if err := n.rename(ctx, "ship3"); fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), "never seen") {
		t.Errorf("a node that is not there: %v", err)
	}
	n.spawn("")
	eventually(t, "it is there", func() bool { return n.presence(n.name) == station.Online })
	for to, kind := range map[string]fleet.Kind{other.name: fleet.Conflict, "Ship 3": fleet.Invalid, n.name: fleet.Invalid} {
		if err := n.rename(ctx, to); fleet.KindOf(err) != kind {
			t.Errorf("to %s: %v", to, err)
		}
	}
	// Whoever asks by themselves hears it from the station.
	for what, c := range map[string]struct {
		as, body string
		state    message.State
		says     string
	}{
		"a name that is taken": {"admin", `{"to":"ship2"}`, message.Rejected, "there is a node ship2 already"},
		"no name":              {"admin", `{}`, message.Rejected, ""},
	} {
		id := n.as(t, c.as, n.name, c.body)
		end := (&node{system: s, name: n.name}).end(t, id)
		if end.State != c.state || !strings.Contains(end.Message, c.says) {
			t.Errorf("%s: it ended %s: %s", what, end.State, end.Message)
		}
	}
	olga, err := client.Open(ctx, client.Options{URL: n.url, Credentials: n.creds(t, "olga")})
	if err != nil {
		t.Fatal(err)
	}
	defer olga.Close()
	way, err := olga.Renaming(ctx, "ship1", "ship3")
	if err == nil {
		_, _, err = olga.Rename(ctx, way, func(string) {})
	}
	if fleet.KindOf(err) != fleet.Refused {
		t.Errorf("an operator at the broker: %v", err)
	}
	m := message.Message{Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: handlers.MethodRename, Domain: "agent"},
		ID: message.NewID(), From: "olga", Body: []byte(`{"to":"ship3"}`), Expires: time.Now().Add(time.Hour)}
	if err := m.Sign(n.creds(t, "olga")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.Conn().Publish(ctx, m); err != nil { // which the administrator's connection may
		t.Fatal(err)
	}
	if end := (&node{system: s, name: n.name}).end(t, m.ID); end.State != message.Rejected || end.Kind != fleet.Refused {
		t.Errorf("an operator at the agent: it ended %s: %s", end.State, end.Message)
	}
	if n.is() != "ship1" || n.presence("ship1") != station.Online {
		t.Errorf("it is %s, %s", n.is(), n.presence("ship1"))
	}
	id, err := identity.OpenNode(n.identity)
	if err != nil {
		t.Fatal(err)
	}
	if to, _, err := id.Successor(); to != "" || err != nil {
		t.Errorf("it is to become %q, %v", to, err)
	}
}

// as sends a rename by itself.
func (n *bearer) as(t *testing.T, user, node, body string) string {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	c, err := client.Open(ctx, client.Options{URL: n.url, Credentials: n.creds(t, user)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent, err := c.Send(ctx, client.Command{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: handlers.MethodRename, Domain: "agent"}, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return sent[0].ID
}

func TestWhatWaitsForANodeDoesNotReachItUnderItsNewName(t *testing.T) {
	s := renamable(t)
	n := s.bearer(t, "ship1")
	n.spawn("")
	eventually(t, "it is there", func() bool { return n.presence(n.name) == station.Online })
	ctx, cancel := patient(t)
	defer cancel()
	e := effectsOf(n.state)
	gated := func(node, gate string) client.Command {
		return client.Command{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: work, Domain: "a"}, Body: fmt.Appendf(nil, `{"gate":%q}`, gate)}
	}
	sent, err := s.client.Send(ctx, gated("ship1", "never"), gated("ship1", "never"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first runs", func() bool { return e.made(t, sent[0].ID) })
	if err := n.rename(ctx, "ship9"); err != nil {
		t.Fatal(err)
	}
	old := &node{system: s, name: "ship1"}
	if end := old.end(t, sent[0].ID); end.State != message.FailedEnd || end.Kind != fleet.Interrupted {
		t.Errorf("what ran ended %s (%s): %s", end.State, end.Kind, end.Message)
	}
	if end := old.end(t, sent[1].ID); end.State != message.Cancelled {
		t.Errorf("what waited ended %s: %s", end.State, end.Message)
	}
	if e.made(t, sent[1].ID) {
		t.Error("what waited was run")
	}
	// The same id to the node under its new name is another command.
	again := client.Command{ID: sent[0].ID, Subject: subjects.Subject{Node: "ship9", Direction: subjects.Command, Method: work, Domain: "a"}}
	if _, err := s.client.Send(ctx, again); err != nil {
		t.Fatal(err)
	}
	if end := (&node{system: s, name: "ship9"}).end(t, sent[0].ID); end.State != message.Succeeded {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
}

func TestLogsThatWaitAreSentUnderTheOldName(t *testing.T) {
	s := renamable(t)
	n := s.bearer(t, "ship1")
	j, err := journal.Open(filepath.Join(n.state, "journal.db"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 3 {
		ids = append(ids, message.NewID())
		body, err := json.Marshal(handlers.LogBatch{ID: ids[len(ids)-1], Records: []syslog.Record{{Message: "a line"}}})
		if err == nil {
			err = j.Spool("nginx", 1, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	n.spawn("") // its handlers forward no logs: nobody else sends them
	eventually(t, "it is there", func() bool { return n.presence(n.name) == station.Online })
	ctx, cancel := patient(t)
	defer cancel()
	if err := n.rename(ctx, "ship2"); err != nil {
		t.Fatal(err)
	}
	var sent []string
	if err := s.client.Conn().Read(ctx, subjects.Logs, bus.ReadOptions{Filter: subjects.LogsOf("ship1")}, func(i bus.Item) error {
		sent = append(sent, message.Receive(i.Stored).Message.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sent, ids) {
		t.Errorf("%q were sent, want %q", sent, ids)
	}
	for _, l := range (&node{system: s, name: "ship2"}).lifecycle(t) {
		if l.Event == message.LifecycleDropped {
			t.Errorf("it is told as lost: %s", l.Message)
		}
	}
}

// Somebody moved the identity away and had the host join anew, with the journal as it was.
func TestWhatAHostDidNotSendUnderItsFormerNameIsToldAsLost(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	j, err := journal.Open(filepath.Join(n.state, "journal.db"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(j.Belong("former", nil), j.Spool("nginx", 5, []byte("{}")),
		j.Enqueue(journal.Event{ID: message.NewID(), Subject: "fleet.former.event.ack.work", Data: []byte("{}")}), j.Close())
	if err != nil {
		t.Fatal(err)
	}
	n.start(t, nil)
	eventually(t, "the loss is told", func() bool {
		return slices.ContainsFunc(n.lifecycle(t), func(l message.Lifecycle) bool {
			return l.Event == message.LifecycleDropped && strings.Contains(l.Message, "this host was former before") &&
				strings.Contains(l.Message, "1 answers and events, 5 log records in 1 batches")
		})
	})
	n.wellAfter(t) // nothing of it holds up what the node says now
}

func TestARenameWaitsForAStation(t *testing.T) {
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	stop := s.issuing(t)
	s.connect(t, t.Cleanup)
	n := s.bearer(t, "ship1")
	n.spawn("")
	eventually(t, "it is there", func() bool { return n.presence(n.name) == station.Online })
	stop()
	id := n.as(t, "admin", "ship1", `{"to":"ship2"}`)
	s.issuing(t)
	if end := (&node{system: s, name: "ship1"}).end(t, id); end.State != message.Succeeded {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
	eventually(t, "it is the other", func() bool { return n.is() == "ship2" })
	ctx, cancel := patient(t)
	defer cancel()
	if err := n.rename(ctx, "ship2"); err != nil {
		t.Errorf("the rest: %v", err)
	}
	eventually(t, "the old name is gone", func() bool { return n.presence("ship1") == "" })
}
