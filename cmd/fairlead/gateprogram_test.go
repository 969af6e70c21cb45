package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/station"
)

func TestAGateProgramIsOneOfTheDirectoryAndSaysWhy(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, script string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("passes", "exit 0", 0o755)
	write("refuses", `read -r q; echo "the page is blank: $q"; echo more; exit 1`, 0o755)
	write("unsure", "echo cannot tell >&2; exit 7", 0o755)
	write("loose", "exit 0", 0o777)
	write("plain", "exit 0", 0o644)
	if err := os.Symlink("/bin/true", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	ask, err := gateProgram(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]station.GateAnswer{
		"passes":  {},
		"refuses": {ExitCode: 1, Reason: `the page is blank: {"wave":1}`},
		"unsure":  {ExitCode: 7, Reason: "cannot tell"},
	} {
		if got, err := ask(t.Context(), name, []byte(`{"wave":1}`+"\n")); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"none", "../passes", "/bin/true", "loose", "plain", "link", ".", ""} {
		if got, err := ask(t.Context(), name, nil); err == nil {
			t.Errorf("%q was run: %+v", name, got)
		}
	}

	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "others may write", filepath.Join(dir, "passes"): "not a directory", filepath.Join(dir, "none"): "no such file"} {
		if _, err := gateProgram(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
