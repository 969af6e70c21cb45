package journal_test

import (
	"fmt"
	"reflect"
	"testing"

	"fairlead/pkg/journal"
)

// lived is a journal in which a node did something of everything.
func lived(t *testing.T, owner string) *journal.Journal {
	t.Helper()
	j := fresh(t)
	must(t, j.Belong(owner, nil))
	must(t, j.Finish(journal.Entry{ID: "reload.nginx.1", Subject: "s", State: "succeeded"}, event("answer")))
	must(t, j.Start(journal.Entry{ID: "push.agent.2", Subject: "s", State: "started"}))
	must(t, j.PutDesired(owner+".nginxconfig.nginx", 57, []byte("{}")))
	must(t, j.Put("fact", []byte("x")))
	for range 3 {
		must(t, j.Spool("nginx", 7, []byte("lines")))
	}
	return j
}

func TestAJournalOfAnotherNodeIsEmptiedAndSaysWhatItHeld(t *testing.T) {
	j := lived(t, "ship1")
	var left journal.Left
	must(t, j.Belong("ship2", func(l journal.Left) []journal.Event {
		left = l
		return []journal.Event{event("told")}
	}))
	if left.Owner != "ship1" || left.Events != 1 || left.Batches != 3 || left.Records != 21 || left.Bytes == 0 {
		t.Errorf("it says that it held %+v", left)
	}
	j = reopen(t, j, journal.Options{NoSync: true})
	if got := outbox(t, j); !reflect.DeepEqual(got, []string{"told"}) || j.OutboxLen() != 1 {
		t.Errorf("the outbox holds %q", got)
	}
	for _, id := range []string{"reload.nginx.1", "push.agent.2"} {
		if e, found, err := j.Lookup(id); found || err != nil {
			t.Errorf("%s is still known: %+v, %v", id, e, err)
		}
	}
	facts, err := j.Keys("")
	must(t, err)
	desired, err := j.DesiredKeys()
	must(t, err)
	if n, b := j.SpoolLen(); len(facts)+len(desired)+n != 0 || b != 0 {
		t.Errorf("facts %q, desired states %q and %d batches of %d bytes are left", facts, desired, n, b)
	}
	must(t, j.PutDesired("ship1.nginxconfig.nginx", 1, []byte("{}"))) // its revisions begin anew, should it get that name again
}

func TestAJournalThatIsTheNodesOrNobodysStaysAsItIs(t *testing.T) {
	for _, j := range []*journal.Journal{lived(t, "ship1"), func() *journal.Journal {
		j := fresh(t)
		must(t, j.Put("fact", []byte("x")))
		return j
	}()} {
		must(t, j.Belong("ship1", func(l journal.Left) []journal.Event {
			t.Errorf("it was emptied of %+v", l)
			return nil
		}))
		if facts, err := j.Keys(""); err != nil || fmt.Sprint(facts) != "[fact]" {
			t.Errorf("facts are %q, %v", facts, err)
		}
	}
}

func TestAJournalIsNotEmptiedWhereThatCannotBeTold(t *testing.T) {
	j := lived(t, "ship1")
	if err := j.Belong("ship2", func(journal.Left) []journal.Event { return []journal.Event{{}} }); err == nil {
		t.Error("an event without an id was queued")
	}
	if n, _ := j.SpoolLen(); n != 3 || j.OutboxLen() != 1 {
		t.Errorf("%d batches and %d events are left", n, j.OutboxLen())
	}
}
