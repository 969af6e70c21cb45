package host_test

import (
	"os"
	"path/filepath"
	"testing"

	"fairlead/pkg/host"
)

func TestWriteFileReplacesContentAndModeAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"first", "second"} {
		if err := host.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	wantEntries(t, dir, "f")
}

func TestWriteFileThatFailsLeavesTheOldContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d")
	if err := os.MkdirAll(filepath.Join(path, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := host.WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced by a file")
	}
	wantEntries(t, dir, "d")
}

func TestLinkReplacesALinkAndSurvivesAHalfMadeOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "link")
	if err := os.Symlink("left by a kill", filepath.Join(dir, ".link.new")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"one", "two"} {
		if err := host.Link(target, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(path); err != nil || got != target {
			t.Errorf("got %q, %v", got, err)
		}
	}
	wantEntries(t, dir, "link")
	if err := host.SyncFilesystem(dir); err != nil {
		t.Error(err)
	}
}

func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Fatalf("got %v, %v; want %v", entries, err, want)
	}
	for i, e := range entries {
		if e.Name() != want[i] {
			t.Errorf("got %s, want %s", e.Name(), want[i])
		}
	}
}
