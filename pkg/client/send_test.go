package client_test

import (
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// mailbox are the ids of all stored commands, in order.
func (s *site) mailbox() (ids []string) {
	s.t.Helper()
	err := s.client.Conn().Read(within(s.t), subjects.Commands, bus.ReadOptions{}, func(i bus.Item) error {
		ids = append(ids, message.Receive(i.Stored).Message.ID)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return ids
}

func TestFiveThousandCommandsAreStoredInTheOrderTheyWereGiven(t *testing.T) {
	s := open(t)
	const count = 5000
	sent := s.send("ship1", count)
	got := s.mailbox()
	if len(got) != count || len(sent) != count {
		t.Fatalf("%d were sent and %d are stored", len(sent), len(got))
	}
	for i, one := range sent {
		if got[i] != one.ID || one.Node != "ship1" || one.Subject != "ship1.command.reload.nginx" {
			t.Fatalf("number %d is %s, stored is %s", i, one.ID, got[i])
		}
	}
}

func TestWhatIsSentIsCheckedBeforeAnythingIsStored(t *testing.T) {
	s := open(t)
	bad := []client.Command{command("ship1"), command("ship2"), command("ship3"), command("ship4"), command("ship5")}
	bad[1].Expires = time.Millisecond
	bad[2].Expires = subjects.MaxCommandAge + time.Second
	bad[3].Body = make([]byte, message.MaxBody+1)
	bad[4].Expires = -time.Hour
	_, err := s.client.Send(within(t), bad...)
	kind(t, err, fleet.Invalid)
	for _, node := range []string{"ship2", "ship3", "ship4", "ship5"} {
		if err == nil || !strings.Contains(err.Error(), node) {
			t.Errorf("%v does not name %s", err, node)
		}
	}
	if got := s.mailbox(); len(got) != 0 {
		t.Errorf("%d were stored", len(got))
	}
	good := []client.Command{command("ship1"), command("ship1"), command("ship1")}
	good[0].Expires = time.Second
	good[1].Expires = subjects.MaxCommandAge
	good[2].Body = make([]byte, message.MaxBody)
	if sent, err := s.client.Send(within(t), good...); err != nil || len(sent) != 3 {
		t.Errorf("%+v, %v", sent, err)
	}
}

func TestRegisterWritesOnlyWhatDiffers(t *testing.T) {
	s := open(t)
	record := station.NodeRecord{Name: "ship1", Key: s.creds("ship1", subjects.Node).Key, Labels: map[string]string{"kind": "ship"}, Since: time.Now()}
	revisions := func() (n int) {
		err := s.client.Conn().History(within(t), subjects.Nodes, "ship1", func(bus.Entry) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	register := func(want int) {
		t.Helper()
		if err := s.client.Register(within(t), record); err != nil {
			t.Fatal(err)
		}
		if n := revisions(); n != want {
			t.Errorf("%d revisions, want %d", n, want)
		}
	}
	register(1)
	record.Since = record.Since.Add(time.Hour)
	register(1)
	record.Labels = map[string]string{"kind": "ship", "zone": "north"}
	register(2)
	register(2)
	s.garbage(subjects.Nodes, "ship1", "{")
	register(4)
	s.garbage(subjects.Nodes, "ship1", `{"name":"ship1","key":"`+record.Key+`","labels":{"kind":"ship","zone":"north"},"since":"2026-01-01T00:00:00Z"}`)
	register(6) // the same, but signed by nobody: no station takes it
	eventually(t, "the station has the labels", func() bool {
		n, err := s.client.Node(within(t), "ship1")
		return err == nil && n.Labels["zone"] == "north"
	})
}
