package journal_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/journal"
)

func TestAFullDiskIsAClearErrorAndPassesOver(t *testing.T) {
	// A limit on the file's size refuses to let it grow.
	dir := t.TempDir()
	if out, err := helper("limit", filepath.Join(dir, "j")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// A full file system lets it grow and refuses to write. Only root can
	// make one; without it the first half stands alone.
	mount := filepath.Join(dir, "mount")
	must(t, os.Mkdir(mount, 0o700))
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("no small file system here: %v", err)
		return
	}
	defer func() { must(t, syscall.Unmount(mount, syscall.MNT_DETACH)) }()
	ballast := filepath.Join(mount, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 512<<10), 0o600))
	must(t, fill(filepath.Join(mount, "j"), func() error { return nil }, func() error { return os.Remove(ballast) }))
}

func TestADiskFullFromTheStartLeavesNothingDamaged(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("no small file system here: %v", err)
		return
	}
	defer func() { must(t, syscall.Unmount(mount, syscall.MNT_DETACH)) }()
	ballast := filepath.Join(mount, "ballast")
	for free := 0; free <= 40; free += 4 {
		must(t, os.WriteFile(ballast, make([]byte, (64-free)<<10), 0o600))
		path := filepath.Join(mount, "j")
		j, err := journal.Open(path, quiet)
		if err == nil {
			must(t, j.Close())
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d KiB free: %v", free, err)
		}
		must(t, os.Remove(ballast))
		j, err = journal.Open(path, quiet)
		must(t, err)
		if j.Recovered() != "" {
			t.Fatalf("%d KiB free: %s", free, j.Recovered())
		}
		must(t, j.Finish(entry("a"), event("a")))
		must(t, j.Close())
		must(t, os.Remove(path))
	}
}

// fillLimited runs in a process of its own, whose files it limits.
func fillLimited(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(size uint64) error {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max})
	}
	return fill(path, func() error { return limit(300 << 10) }, func() error { return limit(100 << 20) })
}

// fill writes until the disk is full, makes room, and writes again: every
// write says truly whether it is there.
func fill(path string, before, makeRoom func() error) error {
	j, err := journal.Open(path, journal.Options{})
	if err != nil {
		return err
	}
	if err := before(); err != nil {
		return err
	}
	var kept []string
	var full error
	finish := func(id string) error {
		err := j.Finish(entry(id), event(id))
		if err == nil {
			kept = append(kept, id)
		}
		return err
	}
	for i := 0; full == nil && i < 1000; i++ {
		if full = j.Spool("d", 1, make([]byte, 10_000)); full == nil {
			full = finish(fmt.Sprint("before", i))
		}
	}
	if fleet.KindOf(full) != fleet.Unavailable || !strings.Contains(full.Error(), path) {
		return fmt.Errorf("full disk: %v (%s)", full, fleet.KindOf(full))
	}
	// A large batch of logs fails; the small outcomes beside it are kept for
	// as long as pages are free.
	small := 0
	for i, err := range together(20, func(i int) error {
		if i%2 == 0 {
			return j.Spool("d", 1, make([]byte, 200_000))
		}
		return j.Finish(entry(fmt.Sprint("during", i)), event(fmt.Sprint("during", i)))
	}) {
		switch {
		case i%2 == 0 && err == nil:
			return errors.New("200 KB were written to a full disk")
		case i%2 == 1 && err == nil:
			kept = append(kept, fmt.Sprint("during", i))
			small++
		}
	}
	for i := range 20 {
		_ = finish(fmt.Sprint("still", i))
	}
	if err := makeRoom(); err != nil {
		return err
	}
	for i := range 100 {
		if err := finish(fmt.Sprint("after", i)); err != nil {
			return fmt.Errorf("after room was made: %w", err)
		}
	}
	fmt.Printf("%d outcomes kept, %d of 10 beside too much\n", len(kept), small)
	if err := j.Close(); err != nil {
		return err
	}
	return holds(path, kept)
}

// holds checks that these commands and no others are there, each with its event.
func holds(path string, ids []string) error {
	j, err := journal.Open(path, journal.Options{})
	if err != nil {
		return err
	}
	defer j.Close()
	events, err := j.Outbox(1 << 20)
	if err != nil || j.Recovered() != "" || len(events) != len(ids) || j.OutboxLen() != len(ids) {
		return fmt.Errorf("%d events of %d, counted %d, %q, %w", len(events), len(ids), j.OutboxLen(), j.Recovered(), err)
	}
	for _, id := range ids {
		if _, ok, err := j.Lookup(id); !ok || err != nil {
			return fmt.Errorf("%s is not there: %w", id, err)
		}
	}
	return nil
}

func TestNoPermissionIsAnErrorThatNamesThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	must(t, os.WriteFile(path, nil, 0o400))
	if out, err := helper("nobody", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// openAsNobody runs in a process of its own, which gives up root.
func openAsNobody(path string) error {
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return err
		}
	}
	_, err := journal.Open(path, quiet)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), path) {
		return fmt.Errorf("want a permission error, got %v", err)
	}
	return nil
}
