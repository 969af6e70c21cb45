package bus_test

import (
	"fmt"
	"sync"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// creations are changes that each make a new key.
func (s *site) creations(n int) []bus.Change {
	changes := make([]bus.Change, n)
	for i := range changes {
		name := fmt.Sprintf("h%d", i)
		changes[i] = bus.Change{Key: key(name), Document: s.document(name, "x")}
	}
	return changes
}

func stateOf(t *testing.T, c *bus.Conn, bucket string) bus.StreamState {
	t.Helper()
	state, err := c.State(t.Context(), subjects.BucketStream(bucket))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestAnyNumberOfKeysChangesInOneStep(t *testing.T) {
	for _, n := range []int{1, 2, 3, bus.MaxChanges} {
		s := open(t)
		c := s.admin()
		last, err := c.PutAll(within(t), subjects.Fleet, s.creations(n))
		if err != nil || last != uint64(n) {
			t.Fatalf("%d keys: the sequence is %d, %v", n, last, err)
		}
		keys := 0
		if err := c.Entries(within(t), subjects.Fleet, ">", func(e bus.Entry) error {
			keys++
			_, err := e.Message(subjects.Subject{})
			return err
		}); err != nil || keys != n {
			t.Errorf("%d of %d keys are there, %v", keys, n, err)
		}
	}
}

func TestNothingChangesWhereOneKeyWasChangedByAnother(t *testing.T) {
	s := open(t)
	c := s.admin()
	put(t, c, bus.Change{Key: key("h3"), Document: s.document("h3", "another's")})
	for name, changes := range map[string][]bus.Change{
		"the first": s.creations(10)[3:], "one in the middle": s.creations(10), "the last": s.creations(4), "the only one": s.creations(4)[3:],
	} {
		if _, err := c.PutAll(within(t), subjects.Fleet, changes); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("%s: kind %s, %v", name, fleet.KindOf(err), err)
		}
		if state := stateOf(t, c, subjects.Fleet); state.Messages != 1 || state.Last != 1 {
			t.Errorf("%s: the bucket holds %+v", name, state)
		}
	}
	changes := s.creations(10)
	changes[3].Expect = 1
	if _, err := c.PutAll(within(t), subjects.Fleet, changes); err != nil {
		t.Error(err)
	}
}

func TestOfTwoThatRaceOneWinsWhole(t *testing.T) {
	s := open(t)
	conns := []*bus.Conn{s.admin(), s.admin(), s.admin()}
	errs := make([]error, len(conns))
	changes := make([][]bus.Change, len(conns))
	for i := range conns {
		changes[i] = s.creations(50)
	}
	var racing sync.WaitGroup
	for i, c := range conns {
		racing.Go(func() { _, errs[i] = c.PutAll(within(t), subjects.Fleet, changes[i]) })
	}
	racing.Wait()
	won := 0
	for _, err := range errs {
		switch fleet.KindOf(err) {
		case "":
			won++
		case fleet.Conflict:
		default:
			t.Errorf("kind %s: %v", fleet.KindOf(err), err)
		}
	}
	if state := stateOf(t, conns[0], subjects.Fleet); won != 1 || state.Messages != 50 {
		t.Errorf("%d won, and %d keys are there", won, state.Messages)
	}
}

func TestTooManyChangesOrNoneAreNotSent(t *testing.T) {
	s := open(t)
	c := s.admin()
	if _, err := c.PutAll(within(t), subjects.Fleet, make([]bus.Change, bus.MaxChanges+1)); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("too many: %v", err)
	}
	if sequence, err := c.PutAll(within(t), subjects.Fleet, nil); sequence != 0 || err != nil {
		t.Errorf("none: %d, %v", sequence, err)
	}
}

// The same documents once more, as by a writer that has not read what it wrote, are a
// conflict and no failure: somebody was faster.
func TestDocumentsThatWereJustWrittenAreAConflict(t *testing.T) {
	s := open(t)
	c := s.admin()
	changes := s.creations(3)
	for i := range changes {
		changes[i].Document.ID = message.NewID()
		changes[i].Expect = bus.Any
	}
	if _, err := c.PutAll(within(t), subjects.Fleet, changes); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutAll(within(t), subjects.Fleet, changes); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("kind %s, %v", fleet.KindOf(err), err)
	}
}
