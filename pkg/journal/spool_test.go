package journal_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"fairlead/pkg/journal"
)

func TestAFullSpoolDropsTheOldestAndCountsThem(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), journal.Options{NoSync: true, SpoolBytes: 10_000})
	data := make([]byte, 1000)
	for i := range 50 {
		must(t, j.Spool(fmt.Sprintf("domain%d", i%3), 10, data))
	}
	batches, bytes := j.SpoolLen()
	all, err := j.SpoolPeek(100)
	must(t, err)
	if bytes > 10_000 || batches != 9 || len(all) != 9 || all[0].Position != 42 || all[8].Position != 50 {
		t.Fatalf("%d batches, %d bytes, %d peeked from %d", batches, bytes, len(all), all[0].Position)
	}
	drops := j.Dropped()
	if drops.Batches != 41 || drops.Records != 410 || drops.Bytes < 41_000 {
		t.Fatalf("%+v", drops)
	}
	if j = reopen(t, j, journal.Options{NoSync: true, SpoolBytes: 10_000}); j.Dropped() != drops {
		t.Fatalf("after opening again %+v", j.Dropped())
	}
	if b, n := j.SpoolLen(); b != batches || n != bytes {
		t.Fatalf("after opening again %d, %d", b, n)
	}
}

func TestDropsAreTakenOnceTogetherWithTheirReport(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), journal.Options{NoSync: true, SpoolBytes: 1000})
	report := func(d journal.Drops) []journal.Event { return []journal.Event{event(fmt.Sprint(d.Records))} }
	if d, err := j.TakeDropped(report); err != nil || d != (journal.Drops{}) || j.OutboxLen() != 0 {
		t.Fatal(d, err)
	}
	for range 3 {
		must(t, j.Spool("d", 5, make([]byte, 900)))
	}
	if d, err := j.TakeDropped(report); err != nil || d.Batches != 2 || d.Records != 10 {
		t.Fatal(d, err)
	}
	if got := outbox(t, j); !reflect.DeepEqual(got, []string{"10"}) {
		t.Fatal(got)
	}
	if _, err := j.TakeDropped(func(journal.Drops) []journal.Event { return []journal.Event{{}} }); err != nil {
		t.Fatal("report was called for nothing:", err)
	}
	must(t, j.Spool("d", 5, make([]byte, 900)))
	if _, err := j.TakeDropped(func(journal.Drops) []journal.Event { return []journal.Event{{}} }); err == nil || j.Dropped().Records != 5 {
		t.Fatal("a report that cannot be queued must not take the count", err, j.Dropped())
	}
}

func TestSpoolDoneRemovesUpToItsPosition(t *testing.T) {
	j := fresh(t)
	for range 1000 {
		must(t, j.Spool("d", 1, make([]byte, 3000)))
	}
	must(t, j.SpoolDone(998))
	all, err := j.SpoolPeek(10)
	if err != nil || len(all) != 2 || all[0].Position != 999 {
		t.Fatal(len(all), err)
	}
	must(t, j.SpoolDone(2000))
	if b, n := j.SpoolLen(); b != 0 || n != 0 {
		t.Fatal(b, n)
	}
}
