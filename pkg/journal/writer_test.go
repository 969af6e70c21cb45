package journal_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/journal"
)

// together calls f n times at once and gives the errors.
func together(n int, f func(i int) error) []error {
	var ready, done sync.WaitGroup
	begin, errs := make(chan bool), make([]error, n)
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			errs[i] = f(i)
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	return errs
}

func TestAThousandAtOnceCostFewTransactions(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), journal.Options{})
	for _, err := range together(1000, func(i int) error {
		id := fmt.Sprint(i)
		return j.Finish(entry(id), event("e"+id))
	}) {
		must(t, err)
	}
	t.Logf("%d transactions", j.Commits())
	if j.Commits() > 50 {
		t.Fatalf("%d transactions", j.Commits())
	}
	if len(outbox(t, j)) != 1000 || j.OutboxLen() != 1000 {
		t.Fatalf("%d events", j.OutboxLen())
	}
}

func TestOneWriteCostsOneTransaction(t *testing.T) {
	j := fresh(t)
	must(t, j.Start(entry("a")))
	must(t, j.Finish(entry("a"), event("e1"), event("e2")))
	if j.Commits() != 2 {
		t.Fatalf("%d transactions for Start and Finish", j.Commits())
	}
}

func TestAFailingWriteLeavesThoseBesideItAlone(t *testing.T) {
	j := fresh(t)
	must(t, j.PutDesired("k", 9, nil))
	for i, err := range together(300, func(i int) error {
		switch i % 5 {
		case 0:
			return j.Spoil(false)
		case 1:
			return j.PutDesired("k", 1, nil)
		case 2:
			return j.Spoil(i%10 == 2)
		}
		return j.Finish(entry(fmt.Sprint(i)), event(fmt.Sprint(i)))
	}) {
		switch {
		case i%5 == 1:
			refused(t, err, fleet.Conflict)
		case (i%5 > 2) != (err == nil):
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, ok, err := j.Get("spoiled"); ok || err != nil {
		t.Fatal("a failed write is there", err)
	}
	j = reopen(t, j, journal.Options{NoSync: true})
	if n := len(outbox(t, j)); n != 120 || j.OutboxLen() != 120 {
		t.Fatalf("%d events, counted %d", n, j.OutboxLen())
	}
}

func TestCloseAnswersAllWhoWait(t *testing.T) {
	j := fresh(t)
	acknowledged := 0
	for i, err := range together(200, func(i int) error {
		if i == 100 {
			return j.Close()
		}
		return j.Enqueue(event(fmt.Sprint(i)))
	}) {
		switch {
		case err == nil && i != 100:
			acknowledged++
		case err != nil:
			refused(t, err, fleet.Unavailable)
		}
	}
	if n := len(outbox(t, reopen(t, j, journal.Options{NoSync: true}))); n != acknowledged {
		t.Fatalf("%d events, %d acknowledged", n, acknowledged)
	}
}

func TestReadersAndWritersDoNotDisturbEachOther(t *testing.T) {
	j := fresh(t)
	for _, err := range together(8, func(i int) error {
		for n := range 50 {
			id := fmt.Sprintf("%d-%d", i, n)
			if err := j.Finish(entry(id), event(id)); err != nil {
				return err
			}
			if _, ok, err := j.Lookup(id); !ok || err != nil {
				return fmt.Errorf("%s is not there: %w", id, err)
			}
			if err := j.Spool("d", 1, make([]byte, 5000)); err != nil {
				return err
			}
			if _, err := j.Outbox(10); err != nil {
				return err
			}
		}
		return nil
	}) {
		must(t, err)
	}
}

// BenchmarkFinish is one command's end with one event, alone and with others
// waiting. TMPDIR decides on which disk.
func BenchmarkFinish(b *testing.B) {
	for _, at := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("waiters=%d", at), func(b *testing.B) {
			j := open(b, filepath.Join(b.TempDir(), "j"), journal.Options{})
			var mu sync.Mutex
			next := 0
			b.ResetTimer()
			var workers sync.WaitGroup
			for range at {
				workers.Go(func() {
					for {
						mu.Lock()
						n := next
						next++
						mu.Unlock()
						if n >= b.N {
							return
						}
						id := fmt.Sprintf("%026d", n)
						if err := j.Finish(entry(id), event(id)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			workers.Wait()
			b.ReportMetric(float64(b.N)/float64(j.Commits()), "writes/transaction")
		})
	}
}

// BenchmarkOpen is what a thousand agents in one process cost each.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make([]*journal.Journal, 0, b.N)
	b.ResetTimer()
	for i := range b.N {
		j, err := journal.Open(filepath.Join(dir, fmt.Sprint(i)), journal.Options{})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, j)
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "heapB/journal")
	for _, j := range all {
		j.Close()
	}
}
