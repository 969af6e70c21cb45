package station_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func sentTo(node, method, id string) client.Sent {
	return client.Sent{ID: id, Node: node, Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: method, Domain: "nginx"}.String()}
}

// mailbox is how many commands the mailbox holds.
func (s *site) mailbox() uint64 {
	s.t.Helper()
	state, err := s.conn("alice", subjects.Admin).State(within(s.t), subjects.Commands)
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Messages
}

func (s *site) emptied() {
	s.t.Helper()
	eventually(s.t, "the mailbox is empty", func() bool { return s.mailbox() == 0 })
}

// ends are the final answers that the audit has of a command.
func (s *site) ends(id string) (states []message.State) {
	s.t.Helper()
	for _, i := range s.items(subjects.Audit, "*.event.ack.*") {
		if d := message.ReceiveCopied(i.Stored, i.Origin); d.Message.Command == id && d.Message.State.Final() {
			states = append(states, d.Message.State)
		}
	}
	return states
}

func TestAnAnswerThatIsReadBeforeItsCommandEndsIt(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 50, 0, nil)
	s.end(sent[:25]...)
	s.station(nil)
	if got, _ := s.sync("ship1"); !slices.Equal(got, ids(sent[25:])) {
		t.Fatalf("%d commands wait", len(got))
	}
	if got := s.state(sent[24].ID); got != message.Succeeded {
		t.Fatalf("the last that ended is %s", got)
	}
	// And while it runs: the answer is stored first, under an id that is known.
	early := sentTo("ship1", "reload", message.NewID())
	s.end(early)
	m := message.Message{Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "reload", Domain: "nginx"},
		ID: early.ID, From: "alice", Expires: time.Now().Add(time.Hour)}
	if err := m.Sign(s.users["alice"]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn("alice", subjects.Admin).Publish(within(t), m); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command has the end that came before it", func() bool { return s.state(early.ID) == message.Succeeded })
}

func TestAStationThatStartsKnowsWhatTheLastOneKnew(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1", "ship2")
	one, two := s.send("ship1", "reload", 20, 0, nil), s.send("ship2", "reload", 5, 0, nil)
	for i := 0; i < 20; i += 2 {
		s.end(one[i])
	}
	eventually(t, "ten wait", func() bool { return s.node("ship1").Waiting == 10 })
	before1, _ := s.sync("ship1")
	before2, _ := s.sync("ship2")
	for range 2 {
		stop()
		stop = s.station(nil)
		after1, _ := s.sync("ship1")
		after2, _ := s.sync("ship2")
		if !slices.Equal(after1, before1) || !slices.Equal(after2, before2) || !slices.Equal(after2, ids(two)) {
			t.Fatalf("waiting were %v and %v, now %v and %v", before1, before2, after1, after2)
		}
	}
	for i := 0; i < 20; i += 2 {
		if state := s.state(one[i].ID); state == message.Published {
			t.Errorf("ended command %d waits again", i)
		}
	}
}

func TestAForgedAnswerEndsNothing(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1", "ship2")
	sent := s.send("ship1", "reload", 3, 0, nil)
	for i, signer := range []string{"ship2", "", "alice"} {
		if err := s.answer(sent[i], message.Succeeded, s.users[signer]); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		last := s.send("ship1", "reload", 1, 0, nil)[0] // behind them
		s.end(last)
		eventually(t, "the true answer counts", func() bool { return s.state(last.ID) == message.Succeeded })
		for i, one := range sent {
			if got := s.state(one.ID); got != message.Published {
				t.Errorf("forgery %d made the command %s", i, got)
			}
		}
		stop()
		stop = s.station(nil)
	}
}

func TestANodeMayNotAnswerForAnother(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1", "ship2")
	sent := s.send("ship1", "reload", 1, 0, nil)[0]
	m := s.signedAnswer(sent, message.Succeeded, s.users["ship2"])
	ship2 := s.conn("ship2", subjects.Node)
	if _, err := ship2.PublishAsync(m); err != nil {
		t.Fatal(err)
	}
	if err := ship2.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	kept, err := s.conn("alice", subjects.Admin).Last(within(t), subjects.Events, m.StoredSubject())
	if err != nil || kept != nil {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if got := s.state(sent.ID); got != message.Published {
		t.Errorf("the command is %s", got)
	}
}

func TestACommandExpiresOnceAndNotWhenItsNodeHasAnswered(t *testing.T) {
	s := open(t)
	quick := func(c *station.Config) { c.ExpireAfter = 100 * time.Millisecond }
	s.station(quick)
	s.station(func(c *station.Config) { quick(c); c.Credentials = s.users["station-b"] })
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 10, time.Second, nil)
	s.end(sent[:5]...)
	eventually(t, "all have ended", func() bool { return s.node("ship1").Waiting == 0 })
	for _, one := range sent[5:] {
		eventually(t, "it expired", func() bool { return s.state(one.ID) == message.Expired })
		if err := s.answer(one, message.Succeeded, s.users["ship1"]); err == nil {
			t.Error("a command that expired ended again")
		}
	}
	s.emptied()
	s.copied()
	for i, one := range sent {
		want := []message.State{message.Expired}
		if i < 5 {
			want = []message.State{message.Succeeded}
		}
		if got := s.ends(one.ID); !slices.Equal(got, want) {
			t.Errorf("command %d ended %v, want %v", i, got, want)
		}
	}
}

func TestWhatEndedIsClearedOnceTheAuditHasIt(t *testing.T) {
	s := open(t)
	s.station(nil)
	s.station(func(c *station.Config) { c.Credentials = s.users["station-b"] })
	s.nodes(nil, "ship1", "ship2")
	first := s.send("ship1", "reload", 50, 0, nil)
	stays := s.send("ship2", "reload", 1, 0, nil)[0]
	above := s.send("ship1", "reload", 50, 0, nil)
	also := s.send("ship2", "reload", 1, 0, nil)[0]
	s.end(first...)
	s.end(above...)
	eventually(t, "only what waits is left", func() bool { return s.mailbox() == 2 })
	if got, _ := s.sync("ship2"); !slices.Equal(got, []string{stays.ID, also.ID}) {
		t.Errorf("ship2 gets %v", got)
	}
	// Clearing goes on, whichever station was first.
	more := s.send("ship1", "reload", 20, 0, nil)
	s.end(more...)
	eventually(t, "later ones are cleared too", func() bool { return s.mailbox() == 2 })
	s.copied()
	audit := make(map[string]bool)
	for _, i := range s.items(subjects.Audit, subjects.CopiedCommands) {
		audit[message.ReceiveCopied(i.Stored, i.Origin).Message.ID] = true
	}
	for _, one := range slices.Concat(first, above, more, []client.Sent{stays, also}) {
		if !audit[one.ID] {
			t.Errorf("the audit does not have %s", one.ID)
		}
	}
	s.end(stays, also)
	s.emptied()
	if ids, _ := s.sync("ship2"); len(ids) != 0 {
		t.Errorf("ship2 gets %v", ids)
	}
}

// The broker forgets that a subject was used once it is cleared.
func TestACommandThatIsStoredOnceMoreAfterItsEndIsClearedAway(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.NudgeAfter = 10 * time.Millisecond })
	s.nodes(nil, "ship1", "ship2")
	sent := s.send("ship1", "reload", 1, 0, nil)[0]
	stored := s.items(subjects.Commands, subjects.MailboxOf("ship1"))[0]
	s.end(sent)
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStopped})
	s.emptied()
	// No answer comes any more: the node's is kept already, and it is away.
	if _, err := s.conn("alice", subjects.Admin).Publish(within(t), message.Receive(stored.Stored).Message); err != nil {
		t.Fatal(err)
	}
	s.end(s.send("ship2", "reload", 1, 0, nil)...) // the audit copies an id once in a moment, and this behind it
	s.emptied()
	if got := s.state(sent.ID); got != message.Succeeded {
		t.Errorf("it is %s", got)
	}
}

func TestANodeThatIsThereIsNudgedAboutWhatItMissed(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.NudgeAfter = 100 * time.Millisecond })
	s.nodes(nil, "ship1", "away")
	nudged, told := make(chan struct{}, 100), make(chan struct{}, 100)
	for name, c := range map[string]chan struct{}{"ship1": nudged, "away": told} {
		if _, err := s.conn(name, subjects.Node).Listen(subjects.Nudge(name), func(string, []byte) { c <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		if err := s.conn(name, subjects.Node).Flush(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	s.health("ship1", 60)
	s.send("away", "reload", 700, 0, nil) // more than one sweep looks at
	missed := s.send("ship1", "reload", 1, 0, nil)[0]
	select {
	case <-nudged:
	case <-time.After(patience):
		t.Fatal("not nudged")
	}
	if got, _ := s.sync("ship1"); !slices.Equal(got, []string{missed.ID}) {
		t.Errorf("the sync brings %v", got)
	}
	if len(told) != 0 {
		t.Error("a node that was never seen was nudged")
	}
}

func TestANodeThatHasAskedLatelyIsNotNudged(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.NudgeAfter = time.Second })
	s.nodes(nil, "asks", "silent")
	nudged := make(map[string]chan struct{})
	for _, name := range []string{"asks", "silent"} {
		c := make(chan struct{}, 100)
		nudged[name] = c
		if _, err := s.conn(name, subjects.Node).Listen(subjects.Nudge(name), func(string, []byte) { c <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		s.health(name, 60)
		s.send(name, "reload", 1, 0, nil)
	}
	// As much waits for both, and one of them asks for it again and again by itself.
	late := time.After(patience)
	for heard := 0; heard < 2; {
		s.sync("asks")
		select {
		case <-nudged["silent"]:
			heard++
		case <-late:
			t.Fatal("a silent node is not nudged")
		default:
		}
	}
	if n := len(nudged["asks"]); n != 0 {
		t.Errorf("a node that asked all the time was nudged %d times", n)
	}
}

func TestASyncHasEverythingThatWasStoredBeforeIt(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	var want []string
	for range 200 {
		want = append(want, s.send("ship1", "reload", 1, 0, nil)[0].ID)
		if got, _ := s.sync("ship1"); !slices.Equal(got, want) {
			t.Fatalf("%d were stored and %d came", len(want), len(got))
		}
	}
}

func TestASyncIsAnsweredWhenTheMailboxWasCleared(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	s.end(s.send("ship1", "reload", 10, 0, nil)...)
	s.emptied()
	stop()
	s.station(nil)
	begun := time.Now()
	if got, _ := s.sync("ship1"); len(got) != 0 || time.Since(begun) > 2*time.Second {
		t.Errorf("%v after %s", got, time.Since(begun))
	}
}

func TestAThousandWaitingCommandsComeInOrderPageByPage(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	sent := slices.Concat(
		s.send("ship1", "reload", 900, 0, noise(2000)),
		s.send("ship1", "reload", 3, 0, noise(message.MaxBody)),
		s.send("ship1", "reload", 97, 0, nil))
	got, pages := s.sync("ship1")
	if !slices.Equal(got, ids(sent)) {
		t.Errorf("%d of %d came, or in another order", len(got), len(sent))
	}
	if pages < 6 {
		t.Errorf("%d pages", pages)
	}
	reply, err := s.page("ship1", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range reply.Messages {
		if d := message.Receive(stored); d.Fault != nil || d.Message.CheckSignature() != nil {
			t.Fatalf("%s came in another form than it was signed in", d.Message.ID)
		}
	}
	if d := s.node("ship1"); d.Waiting != 1000 || len(d.Commands) == 0 || d.Commands[0].ID != sent[0].ID {
		t.Errorf("the detail says %d waiting and shows %d", d.Waiting, len(d.Commands))
	}
}

func TestACommandToNobodyIsClearedAndStopsNothing(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	nc, err := nats.Connect(s.url, nats.UserCredentials(s.users["alice"].File), nats.CustomInboxPrefix(subjects.Inbox("alice")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, subject := range []string{"live.command.reload.nginx", "a!b.command.reload.nginx"} {
		if _, err := nc.Request(subject, []byte("x"), patience); err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		s.emptied() // though nothing else ends
	}
	for range 2 {
		sent := s.send("ship1", "reload", 1, 0, nil)[0]
		s.end(sent)
		eventually(t, "it ended", func() bool { return s.state(sent.ID) == message.Succeeded })
		s.emptied()
		stop()
		stop = s.station(nil)
	}
}

// A subject that is none has a node all the same: it is the node's to refuse, and
// the station's to end where the node does not.
func TestACommandUnderASubjectThatIsNoneWaitsForItsNode(t *testing.T) {
	s := open(t)
	s.station(nil)
	s.nodes(nil, "ship1")
	nc, err := nats.Connect(s.url, nats.UserCredentials(s.users["alice"].File), nats.CustomInboxPrefix(subjects.Inbox("alice")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for i, subject := range []string{"ship1.command.re$load.nginx", "ship1.command.reload.ngin×"} {
		if _, err := nc.Request(subject, []byte("x"), patience); err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		eventually(t, "it waits", func() bool { return s.node("ship1").Waiting == i+1 })
	}
	got, _ := s.sync("ship1")
	if !slices.Equal(got, []string{"seq-1", "seq-2"}) {
		t.Errorf("the node gets %v", got)
	}
	for i, subject := range []string{"ship1.command._.nginx", "ship1.command.reload._"} {
		s.end(client.Sent{ID: got[i], Subject: subject, Node: "ship1"})
	}
	s.emptied()
}

func TestAnUnknownCommandHasNoState(t *testing.T) {
	s := running(t)
	if got := s.state(message.NewID()); got != "" {
		t.Errorf("it is %s", got)
	}
}

func TestEndedCommandsAreRemembered(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 12, 0, nil)
	s.end(sent...)
	last := sent[len(sent)-1]
	eventually(t, "the last one ended", func() bool { return s.state(last.ID) == message.Succeeded })
	d := s.node("ship1")
	if len(d.Recent) != 8 || d.Recent[7].ID != last.ID || d.Recent[7].Answer.Message != "done" || d.Recent[7].From != "alice" {
		t.Errorf("%+v", d.Recent)
	}
	if got := s.state(sent[0].ID); got != "" {
		t.Errorf("one that is forgotten is %s", got)
	}
}

func TestASyncQuestionThatIsNotOneIsInvalid(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	var reply message.SyncReply
	if err := s.conn("ship1", subjects.Node).Ask(within(t), subjects.Sync("ship1"), "nonsense", &reply); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("%v", err)
	}
}
