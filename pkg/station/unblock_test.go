package station_test

import (
	"errors"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// The broker takes one message for each answer, and whoever has JetStream answer
// something can have that be another.
func TestWhatNobodyProvesMakesWayForTheAnswer(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.SweepEvery, c.StrangersAfter = 50*time.Millisecond, time.Second })
	s.nodes(nil, "ship1", "ship2")
	nudged := make(chan struct{}, 64)
	if _, err := s.conn("ship1", subjects.Node).Listen(subjects.Nudge("ship1"), func(string, []byte) { nudged <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	sent := s.send("ship1", "reload", 3, 0, nil)
	for i, signer := range []string{"", "ship2", untrusted} {
		if err := s.answer(sent[i], message.Succeeded, s.users[signer]); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range sent {
		select {
		case <-nudged: // to say again what it says
		case <-time.After(patience):
			t.Fatal("the node is not told")
		}
		eventually(t, "the answer finds its place", func() bool {
			err := s.answer(one, message.Succeeded, s.creds("ship1", subjects.Node))
			if err != nil && !errors.Is(err, bus.ErrExists) {
				t.Fatal(err)
			}
			return err == nil
		})
		eventually(t, "the true answer counts", func() bool { return s.state(one.ID) == message.Succeeded })
	}
}

// Its end cannot come from the node any more, and the station's own finds the place taken.
func TestACommandWhoseAnswersPlaceIsTakenExpires(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.SweepEvery, c.ExpireAfter = 50*time.Millisecond, 100*time.Millisecond })
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 1, time.Second, nil)[0]
	if err := s.answer(sent, message.Succeeded, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it expires", func() bool { return s.state(sent.ID) == message.Expired })
}
