package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestAFollowedStreamHasNeitherGapNorRepeatAcrossARestart(t *testing.T) {
	s := open(t)
	c := s.admin()
	fill(t, s, 300)
	seen := make(chan uint64, 10000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Read(ctx, subjects.Commands, bus.ReadOptions{Follow: true}, func(i bus.Item) error {
			seen <- i.Sequence
			return nil
		})
	}()
	expect := uint64(0)
	check := func(upTo uint64) {
		for expect < upTo {
			if got := next(t, seen); got != expect+1 {
				t.Fatalf("%d comes after %d", got, expect)
			}
			expect++
		}
	}
	check(150) // in the middle of what is stored
	for range 2 {
		s.stop()
		s.start()
		fill(t, s, 300)
		check(expect + 150)
	}
	check(900)
	cancel()
	if err := next(t, ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(seen) > 0 {
		t.Errorf("%d came twice", len(seen))
	}
}

func TestAReconnectionIsToldAndSubscriptionsGoOn(t *testing.T) {
	s := open(t)
	connected, lost := make(chan struct{}, 10), make(chan struct{}, 10)
	ship1 := s.connect(bus.Options{Credentials: s.credentials("ship1", subjects.Node),
		OnConnect: func() { connected <- struct{}{} }, OnDisconnect: func(error) { lost <- struct{}{} }})
	heard, _ := hear(t, ship1, "ship1")
	next(t, connected)
	s.stop()
	next(t, lost)
	s.start()
	next(t, connected)
	flush(t, ship1)
	m := s.command("ship1", "reload")
	publish(t, s.admin(), m)
	if d := next(t, heard); d.Message.ID != m.ID {
		t.Errorf("heard %+v", d)
	}
}

func TestWhoPersistsConnectsWhenTheBrokerComes(t *testing.T) {
	s := open(t)
	s.stop()
	connected := make(chan struct{}, 10)
	c := s.connect(bus.Options{Credentials: s.credentials("ship1", subjects.Node), Persist: true, OnConnect: func() { connected <- struct{}{} }})
	if c.Connected() {
		t.Error("it is connected to nobody")
	}
	s.start()
	next(t, connected)
	publish(t, c, s.event("ship1", subjects.MethodHealth, "nginx"))
}

// A broker that does not know the account, such as one that was restored from
// an old backup, refuses; the agent must be there when it does again.
func TestWhoPersistsOutlivesRefusals(t *testing.T) {
	s := open(t)
	connected := make(chan struct{}, 10)
	refusals, refused := atomic.Int32{}, make(chan struct{})
	creds := s.credentials("ship1", subjects.Node)
	s.connect(bus.Options{Credentials: creds, Persist: true, OnConnect: func() { connected <- struct{}{} },
		Logger: onWarning(func() {
			if refusals.Add(1) == 3 {
				close(refused)
			}
		})})
	next(t, connected)
	s.stop()
	mine := s.config
	other := s.config
	other.Server, other.StoreDir = newAuthority(t).Server(), t.TempDir()
	other.Server.TLS = mine.Server.TLS
	s.config = other
	s.start()
	next(t, refused)
	s.stop()
	s.config = mine
	s.start()
	next(t, connected)
}

func TestAReadThatIsInterruptedShowsTheLatestOfEachSubjectOnce(t *testing.T) {
	s := open(t)
	for range 2 {
		for _, name := range []string{"ship1", "ship2", "ship3"} {
			publish(t, s.node(name), s.event(name, subjects.MethodHealth, "nginx"))
		}
	}
	seen := make(map[string]int)
	c := s.admin()
	err := c.Read(within(t), subjects.Health, bus.ReadOptions{Latest: true}, func(i bus.Item) error {
		if len(seen) == 0 {
			s.stop()
			s.start()
		}
		seen[message.Receive(i.Stored).Message.Subject.Node]++
		return nil
	})
	if err != nil || len(seen) != 3 || seen["ship1"]+seen["ship2"]+seen["ship3"] != 3 {
		t.Errorf("saw %v, %v", seen, err)
	}
}
