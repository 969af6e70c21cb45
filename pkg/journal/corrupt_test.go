package journal_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/journal"
)

var quiet = journal.Options{NoSync: true, Logger: slog.New(slog.DiscardHandler)}

// contents is all that a journal gives back.
func contents(t *testing.T, j *journal.Journal) (all []any) {
	t.Helper()
	keep := func(v any, err error) {
		must(t, err)
		all = append(all, v)
	}
	for i := range 200 {
		e, ok, err := j.Lookup(fmt.Sprint(i))
		keep(e, err)
		keep(ok, nil)
	}
	started, err := j.Started()
	keep(started, err)
	events, err := j.Outbox(1 << 20)
	keep(events, err)
	logs, err := j.SpoolPeek(1 << 20)
	keep(logs, err)
	revision, data, _, err := j.Desired("k")
	keep(revision, err)
	keep(data, nil)
	facts, err := j.Keys("")
	keep(facts, err)
	return all
}

// written is a journal's file with something in every bucket, branch pages
// and overflow pages, and what it holds.
func written(t *testing.T) (file []byte, holds []any) {
	t.Helper()
	j := fresh(t)
	for i := range 200 {
		id := fmt.Sprint(i)
		must(t, j.Start(entry(id)))
		if i%10 != 0 {
			must(t, j.Finish(entry(id), event(id)))
		}
		must(t, j.Spool("d", 1, bytes.Repeat([]byte{byte(i)}, 200)))
	}
	must(t, j.Spool("d", 1, make([]byte, 20_000)))
	must(t, j.PutDesired("k", 1, bytes.Repeat([]byte("desired"), 2000)))
	must(t, j.Put("fact", []byte("x")))
	must(t, j.SpoolDone(20))
	holds = contents(t, j)
	must(t, j.Close())
	file, err := os.ReadFile(j.Path())
	must(t, err)
	return file, holds
}

// survives opens a file with this content: nothing may crash, and either all
// is there or the journal says that it began anew. It then works.
func survives(t *testing.T, what string, file []byte, holds []any) (recovered bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	must(t, os.WriteFile(path, file, 0o600))
	j, err := journal.Open(path, quiet)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer j.Close()
	if j.Recovered() == "" && !reflect.DeepEqual(contents(t, j), holds) {
		t.Fatalf("%s: opened as if whole, with other content", what)
	}
	if err := j.Finish(entry("new"), event("new")); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return j.Recovered() != ""
}

func TestATruncatedFileIsSetAside(t *testing.T) {
	file, holds := written(t)
	for _, size := range []int{1, 79, 100, 4095, 4096, 5000, 8192, 12288, 16384, len(file) / 4, len(file) / 3, len(file) / 2} {
		if !survives(t, fmt.Sprintf("%d bytes", size), file[:size], holds) && size < len(file)/2 {
			t.Errorf("%d bytes of %d were taken for whole", size, len(file))
		}
	}
	survives(t, "whole", file, holds)
}

func TestAnyOverwrittenPageIsFoundOrHarmless(t *testing.T) {
	file, holds := written(t)
	page, found := os.Getpagesize(), 0
	random := make([]byte, page)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for at := 0; at+page <= len(file); at += page {
		for name, with := range map[string][]byte{
			"zeros": make([]byte, page), "ones": bytes.Repeat([]byte{255}, page), "noise": random,
			"the root": file[3*page : 4*page], "another": file[(at+7*page)%len(file)/page*page:][:page],
		} {
			damaged := bytes.Clone(file)
			copy(damaged[at:], with)
			if survives(t, fmt.Sprintf("page %d is %s", at/page, name), damaged, holds) {
				found++
			}
		}
	}
	if found == 0 {
		t.Fatal("no damage was found")
	}
}

func TestOneBrokenMetaPageCostsAtMostTheLastWrite(t *testing.T) {
	file, _ := written(t)
	for page := range 2 {
		damaged := bytes.Clone(file)
		copy(damaged[page*os.Getpagesize():], make([]byte, 100))
		path := filepath.Join(t.TempDir(), "j")
		must(t, os.WriteFile(path, damaged, 0o600))
		j := open(t, path, quiet)
		if !strings.Contains(j.Recovered(), "repaired") || j.OutboxLen() != 180 {
			t.Fatalf("page %d: %q, %d events", page, j.Recovered(), j.OutboxLen())
		}
		must(t, j.Put("new", nil))
		reopen(t, j, quiet)
	}
}

func TestAnyFlippedBitIsFoundOrHarmless(t *testing.T) {
	file, holds := written(t)
	for range 400 {
		damaged := bytes.Clone(file)
		at, bit := rand.IntN(len(file)), rand.IntN(8)
		damaged[at] ^= 1 << bit
		survives(t, fmt.Sprintf("bit %d of byte %d", bit, at), damaged, holds)
	}
	page := os.Getpagesize() // headers are few among the bytes, and the worst to lose
	for at := 0; at+page <= len(file); at += page {
		for range 4 {
			damaged := bytes.Clone(file)
			i, bit := rand.IntN(64), rand.IntN(8)
			damaged[at+i] ^= 1 << bit
			survives(t, fmt.Sprintf("bit %d of byte %d of page %d", bit, i, at/page), damaged, holds)
		}
	}
}

func TestADamagedFileIsKeptAndReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	for i := range 5 {
		garbage := []byte(fmt.Sprintf("this is no journal %d", i))
		must(t, os.WriteFile(path, garbage, 0o644))
		j, err := journal.Open(path, quiet)
		must(t, err)
		must(t, j.Put("k", nil))
		_, aside, ok := strings.Cut(j.Recovered(), "is now ")
		aside, _, _ = strings.Cut(aside, ";")
		if kept, err := os.ReadFile(aside); !ok || !bytes.Equal(kept, garbage) {
			t.Fatalf("%q: %v", j.Recovered(), err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(info.Mode(), err)
		}
		must(t, j.Close())
	}
	if all, _ := filepath.Glob(path + ".corrupt-*"); len(all) != 3 {
		t.Fatalf("kept %v", all)
	}
}

func TestAFileOfZerosIsSetAsideAndAnEmptyOneIsNew(t *testing.T) {
	if survives(t, "empty", nil, contents(t, fresh(t))) {
		t.Fatal("an empty file is a new one")
	}
	if !survives(t, "zeros", make([]byte, 32<<10), nil) {
		t.Fatal("zeros are no journal")
	}
}

func TestALaterFormatIsRefusedAndLeftAlone(t *testing.T) {
	j := fresh(t)
	must(t, j.SetFormat(2))
	must(t, j.Close())
	_, err := journal.Open(j.Path(), quiet)
	refused(t, err, fleet.Conflict)
	if all, _ := filepath.Glob(j.Path() + ".corrupt-*"); len(all) != 0 {
		t.Fatal(all)
	}
}

func TestASecondAgentIsRefusedByName(t *testing.T) {
	j := fresh(t)
	o := quiet
	o.LockTimeout = time.Millisecond
	_, err := journal.Open(j.Path(), o)
	refused(t, err, fleet.Conflict)
	if !strings.Contains(err.Error(), j.Path()+": another agent holds it") {
		t.Fatal(err)
	}
	reopen(t, j, quiet)
}

func TestWhatIsNoFileIsAnErrorThatNamesIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	must(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{dir, filepath.Join(file, "j"), "/proc/journal"} {
		if j, err := journal.Open(path, quiet); err == nil {
			j.Close()
			t.Errorf("%s was opened", path)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Fatal("the directory was touched")
	}
}
