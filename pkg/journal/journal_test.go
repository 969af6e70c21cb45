package journal_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/journal"
)

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// open opens a journal that the test's end closes.
func open(t testing.TB, path string, o journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func fresh(t testing.TB) *journal.Journal {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "j"), journal.Options{NoSync: true})
}

// reopen closes a journal and opens its file again.
func reopen(t testing.TB, j *journal.Journal, o journal.Options) *journal.Journal {
	t.Helper()
	must(t, j.Close())
	again := open(t, j.Path(), o)
	if again.Recovered() != "" {
		t.Fatal(again.Recovered())
	}
	return again
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t testing.TB, err error, kind fleet.Kind) {
	t.Helper()
	if fleet.KindOf(err) != kind {
		t.Fatalf("got %v (%s), want kind %s", err, fleet.KindOf(err), kind)
	}
}

func entry(id string) journal.Entry {
	return journal.Entry{
		ID: id, Sequence: 7, Subject: "fleet.ship1.command.reload.nginx." + id, State: "succeeded",
		StartedBoot: 90 * time.Second, BootID: "boot", At: noon, Forget: noon.Add(time.Hour), Answer: []byte("answer " + id),
	}
}

func event(id string) journal.Event {
	return journal.Event{ID: id, Subject: "fleet.ship1.event.ack.reload." + id, Data: []byte("data of " + id)}
}

func outbox(t testing.TB, j *journal.Journal) (ids []string) {
	t.Helper()
	all, err := j.Outbox(1 << 20)
	must(t, err)
	for _, q := range all {
		ids = append(ids, q.ID)
	}
	return ids
}

func TestAllIsThereAfterOpeningAgain(t *testing.T) {
	j := fresh(t)
	must(t, j.Start(entry("a")))
	must(t, j.Start(entry("b")))
	must(t, j.Finish(entry("b"), event("e1"), event("e2")))
	must(t, j.Enqueue(event("e3")))
	must(t, j.PutDesired("nginx.nginx", 3, []byte("desired")))
	must(t, j.Put("quarantine", []byte("4")))
	must(t, j.Spool("nginx", 12, []byte("logs")))
	j = reopen(t, j, journal.Options{NoSync: true})

	want := entry("b")
	if got, ok, err := j.Lookup("b"); err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Fatalf("finished: %+v, %v, %v", got, ok, err)
	}
	want = entry("a")
	want.State = journal.Started
	if got, err := j.Started(); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Fatalf("started: %+v, %v", got, err)
	}
	if got, err := j.Outbox(10); err != nil || j.OutboxLen() != 3 || !reflect.DeepEqual(got, []journal.Queued{
		{Position: 1, Event: event("e1")}, {Position: 2, Event: event("e2")}, {Position: 3, Event: event("e3")},
	}) {
		t.Fatalf("outbox: %+v, %v", got, err)
	}
	if revision, data, ok, err := j.Desired("nginx.nginx"); revision != 3 || string(data) != "desired" || !ok || err != nil {
		t.Fatalf("desired: %d, %q, %v, %v", revision, data, ok, err)
	}
	if data, ok, err := j.Get("quarantine"); string(data) != "4" || !ok || err != nil {
		t.Fatalf("fact: %q, %v, %v", data, ok, err)
	}
	if got, err := j.SpoolPeek(10); err != nil || !reflect.DeepEqual(got, []journal.Spooled{{Position: 1, Domain: "nginx", Records: 12, Data: []byte("logs")}}) {
		t.Fatalf("spool: %+v, %v", got, err)
	}
	select {
	case <-j.Wake():
	default:
		t.Fatal("an outbox with something in it did not wake")
	}
}

func TestWhatIsNotThereIsNoError(t *testing.T) {
	j := fresh(t)
	_, ok1, err1 := j.Lookup("x")
	_, _, ok2, err2 := j.Desired("x")
	_, ok3, err3 := j.Get("x")
	if ok1 || ok2 || ok3 || err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(ok1, ok2, ok3, err1, err2, err3)
	}
	must(t, j.Delete("x"))
	must(t, j.DeleteDesired("x"))
	must(t, j.Sent(1, 2, 3))
	must(t, j.SpoolDone(9))
	must(t, j.Enqueue())
	if j.Commits() != 1-1 {
		t.Fatalf("%d transactions for nothing", j.Commits())
	}
}

func TestAFinishedCommandNeitherStartsNorEndsAgain(t *testing.T) {
	j := fresh(t)
	must(t, j.Start(entry("a")))
	must(t, j.Start(entry("a")))
	must(t, j.Finish(entry("a"), event("e")))
	refused(t, j.Start(entry("a")), fleet.Conflict)
	must(t, j.Finish(entry("a"), event("e"))) // repeated after an error
	other := entry("a")
	other.State = "failed"
	refused(t, j.Finish(other, event("e2")), fleet.Conflict)
	if got := outbox(t, j); len(got) != 1 {
		t.Fatalf("outbox %v", got)
	}
	if started, err := j.Started(); err != nil || len(started) != 0 {
		t.Fatal(started, err)
	}
}

func TestWrongInputIsRefusedAndChangesNothing(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), journal.Options{NoSync: true, SpoolBytes: 100})
	big := make([]byte, journal.MaxBytes+1)
	unfinished := entry("a")
	unfinished.State = journal.Started
	bigEntry, bigEvent := entry("a"), event("e")
	bigEntry.Answer, bigEvent.Data = big, big
	for name, err := range map[string]error{
		"no id":             j.Start(journal.Entry{}),
		"not final":         j.Finish(unfinished),
		"no state":          j.Finish(journal.Entry{ID: "a"}),
		"answer too large":  j.Finish(bigEntry),
		"event too large":   j.Finish(entry("a"), bigEvent),
		"event without id":  j.Finish(entry("a"), journal.Event{Subject: "s"}),
		"without subject":   j.Enqueue(journal.Event{ID: "e"}),
		"no desired key":    j.PutDesired("", 1, nil),
		"desired too large": j.PutDesired("k", 1, big),
		"key too long":      j.Put(string(big[:2000]), nil),
		"fact too large":    j.Put("k", big),
		"no domain":         j.Spool("", 1, nil),
		"batch too large":   j.Spool("d", 1, big[:101]),
	} {
		if fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j.Commits() != 0 || j.OutboxLen() != 0 {
		t.Fatal("something was written")
	}
}

func TestStartedIsOrderedBySequence(t *testing.T) {
	j := fresh(t)
	for i, id := range []string{"c", "a", "b"} {
		e := entry(id)
		e.Sequence = uint64(i)
		must(t, j.Start(e))
	}
	all, err := j.Started()
	must(t, err)
	if len(all) != 3 || all[0].ID != "c" || all[2].ID != "b" {
		t.Fatalf("%+v", all)
	}
}

func TestPruneDropsWhatIsDueAndNoMoreThanAsked(t *testing.T) {
	j := fresh(t)
	for i := range 10 {
		e := entry(fmt.Sprint(i))
		e.Forget = noon.Add(time.Duration(i) * time.Minute)
		must(t, j.Finish(e))
	}
	forever := entry("forever")
	forever.Forget = time.Time{}
	must(t, j.Finish(forever))
	for _, want := range []int{3, 3, 0} {
		if n, err := j.Prune(noon.Add(5*time.Minute), 3); err != nil || n != want {
			t.Fatalf("%d, %v, want %d", n, err, want)
		}
	}
	for id, want := range map[string]bool{"0": false, "5": false, "6": true, "9": true, "forever": true} {
		if _, ok, err := j.Lookup(id); ok != want || err != nil {
			t.Errorf("%s: %v, %v", id, ok, err)
		}
	}
	must(t, j.Start(entry("0"))) // it may run again, being forgotten
}

func TestPositionsGrowOverRestarts(t *testing.T) {
	j := fresh(t)
	must(t, j.Enqueue(event("a"), event("b")))
	must(t, j.Sent(1, 2))
	j = reopen(t, j, journal.Options{NoSync: true})
	must(t, j.Enqueue(event("c")))
	all, err := j.Outbox(1)
	if err != nil || len(all) != 1 || all[0].Position != 3 || all[0].ID != "c" {
		t.Fatalf("%+v, %v", all, err)
	}
}

func TestSentIsIdempotentAndLeavesTheRest(t *testing.T) {
	j := fresh(t)
	must(t, j.Enqueue(event("a"), event("b"), event("c")))
	must(t, j.Sent(2))
	must(t, j.Sent(2, 2, 77))
	if got := outbox(t, j); len(got) != 2 || got[0] != "a" || got[1] != "c" || j.OutboxLen() != 2 {
		t.Fatalf("%v, %d", got, j.OutboxLen())
	}
}

func TestEveryEnqueueWakes(t *testing.T) {
	j := fresh(t)
	for _, write := range []func() error{
		func() error { return j.Enqueue(event("a")) },
		func() error { return j.Finish(entry("b"), event("b")) },
	} {
		must(t, write())
		select {
		case <-j.Wake():
		default:
			t.Fatal("not signalled when the write returned")
		}
	}
	must(t, j.Finish(entry("c")))
	select {
	case <-j.Wake():
		t.Fatal("signalled without an event")
	default:
	}
}

func TestDesiredNeverGoesBack(t *testing.T) {
	j := fresh(t)
	must(t, j.PutDesired("k", 5, []byte("five")))
	must(t, j.PutDesired("k", 5, []byte("five")))
	refused(t, j.PutDesired("k", 5, []byte("other")), fleet.Conflict)
	refused(t, j.PutDesired("k", 4, []byte("five")), fleet.Conflict)
	must(t, j.PutDesired("k", 6, []byte("six")))
	must(t, j.PutDesired("other", 1, nil))
	if revision, data, _, err := j.Desired("k"); revision != 6 || string(data) != "six" || err != nil {
		t.Fatal(revision, string(data), err)
	}
	if keys, err := j.DesiredKeys(); err != nil || !reflect.DeepEqual(keys, []string{"k", "other"}) {
		t.Fatal(keys, err)
	}
	must(t, j.DeleteDesired("k"))
	must(t, j.PutDesired("k", 1, []byte("anew")))
}

func TestAnUnchangedFactOrDesiredStateCostsNoWrite(t *testing.T) {
	j := fresh(t)
	must(t, j.Put("a/1", []byte("x")))
	must(t, j.PutDesired("k", 1, []byte("x")))
	before := j.Commits()
	must(t, j.Put("a/1", []byte("x")))
	must(t, j.PutDesired("k", 1, []byte("x")))
	if j.Commits() != before {
		t.Fatal("written again")
	}
	must(t, j.Put("a/2", nil))
	must(t, j.Put("b", nil))
	if keys, err := j.Keys("a/"); err != nil || !reflect.DeepEqual(keys, []string{"a/1", "a/2"}) {
		t.Fatal(keys, err)
	}
	must(t, j.Delete("a/1"))
	if _, ok, err := j.Get("a/1"); ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestAClosedJournalRefusesAndIsClosedOnce(t *testing.T) {
	j := fresh(t)
	must(t, j.Close())
	must(t, j.Close())
	refused(t, j.Put("a", nil), fleet.Unavailable)
	_, _, err := j.Get("a")
	refused(t, err, fleet.Unavailable)
}
