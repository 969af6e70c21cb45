package bus_test

import (
	"slices"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// mailbox reads all of a node's mailbox in pages, as an agent does.
func mailbox(t *testing.T, c *bus.Conn, node string, page int) (ids []string) {
	t.Helper()
	for after := uint64(0); ; {
		got, now, err := c.Mailbox(within(t), node, subjects.MailboxOf(node), after, page)
		if err != nil {
			t.Fatal(err)
		}
		if now.IsZero() || len(got) > page {
			t.Errorf("%d messages at %s", len(got), now)
		}
		for _, s := range got {
			if s.Sequence <= after || s.At.After(now) {
				t.Errorf("%d of %s comes after %d, now is %s", s.Sequence, s.At, after, now)
			}
			after = s.Sequence
			ids = append(ids, message.Receive(s).Message.ID)
		}
		if len(got) == 0 {
			return ids
		}
	}
}

func TestANodeReadsItsOwnMailboxInPages(t *testing.T) {
	s := open(t)
	ship1 := s.node("ship1")
	if got := mailbox(t, ship1, "ship1", 10); len(got) != 0 {
		t.Errorf("an empty mailbox holds %v", got)
	}
	ids := fill(t, s, 60) // every other one is ship2's
	var mine []string
	for i := 0; i < len(ids); i += 2 {
		mine = append(mine, ids[i])
	}
	for _, page := range []int{1, 7, 10, 30, 100} {
		if got := mailbox(t, ship1, "ship1", page); !slices.Equal(got, mine) {
			t.Errorf("in pages of %d come %d of %d", page, len(got), len(mine))
		}
	}
}

// An agent that was killed in the middle leaves its consumer behind for ten
// seconds, and comes back sooner.
func TestAConsumerThatWasLeftBehindHidesNothing(t *testing.T) {
	s := open(t)
	ids := fill(t, s, 40)
	nc := s.foreign("ship1", subjects.Node)
	leave := func(policy string) {
		body := `{"stream_name":"COMMANDS","config":{"name":"ship1","mem_storage":true,"num_replicas":1,"ack_policy":"none",` + policy +
			`,"inactive_threshold":10000000000,"filter_subject":"` + subjects.MailboxOf("ship1") + `"}}`
		if _, err := nc.Request("$JS.API.CONSUMER.CREATE.COMMANDS.ship1."+subjects.MailboxOf("ship1"), []byte(body), patience); err != nil {
			t.Fatal(err)
		}
		sub, err := nc.SubscribeSync(nc.NewInbox())
		if err == nil {
			err = nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.ship1", sub.Subject, []byte(`{"batch":5,"no_wait":true}`))
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := sub.NextMsg(patience); err != nil {
				t.Fatal(err)
			}
		}
	}
	ship1 := s.node("ship1")
	for _, policy := range []string{`"deliver_policy":"all"`, `"deliver_policy":"by_start_sequence","opt_start_seq":9`} {
		leave(policy)
		if got := mailbox(t, ship1, "ship1", 256); len(got) != 20 || got[0] != ids[0] {
			t.Errorf("after %s come %d of 20", policy, len(got))
		}
	}
}

func TestClearingLeavesWhatWaits(t *testing.T) {
	s := open(t)
	ids := fill(t, s, 10)
	station := s.station()
	left := func() []string { return idsOf(all(t, station, subjects.Commands, bus.ReadOptions{})) }
	for _, step := range []struct {
		before uint64
		singly []uint64
		want   []string
	}{
		{0, nil, ids}, {1, nil, ids}, {4, nil, ids[3:]}, {4, []uint64{2, 99}, ids[3:]},
		{5, []uint64{7, 9}, []string{ids[4], ids[5], ids[7], ids[9]}},
		{5, []uint64{7, 9}, []string{ids[4], ids[5], ids[7], ids[9]}}, // another station was first
		{11, nil, nil},
	} {
		if err := station.Clear(within(t), step.before, step.singly); err != nil {
			t.Errorf("before %d and %v: %v", step.before, step.singly, err)
		}
		if got := left(); !slices.Equal(got, step.want) {
			t.Errorf("before %d and %v leaves %d, want %d", step.before, step.singly, len(got), len(step.want))
		}
	}
}

func TestWhatWasClearedIsKeptByTheAudit(t *testing.T) {
	s := open(t)
	ids := fill(t, s, 10)
	copied(t, s.admin(), 10)
	if err := s.station().Clear(within(t), 11, nil); err != nil {
		t.Fatal(err)
	}
	if got := idsOfCopies(all(t, s.admin(), subjects.Audit, bus.ReadOptions{})); !slices.Equal(got, ids) {
		t.Errorf("the audit holds %d", len(got))
	}
}
