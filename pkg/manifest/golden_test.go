package manifest_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// testdata/bad holds one deliberate mistake after the other; bad.golden is
// everything that a person is told about them.
func TestEveryFaultOfEveryFileIsTold(t *testing.T) {
	_, err := manifest.Load("testdata/bad")
	var faults fleet.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("the error is %T, want fleet.Faults", err)
	}
	for _, f := range faults {
		if f.File == "" || f.Line == 0 && !strings.HasSuffix(f.File, "empty.yaml") {
			t.Errorf("no file and line: %s", f)
		}
	}
	got := filepath.ToSlash(faults.Error()) + "\n"
	golden := "testdata/bad.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("faults differ from %s; run with -update and review the difference:\n%s", golden, got)
	}
}
