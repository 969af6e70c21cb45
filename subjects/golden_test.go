package subjects_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"fairlead/subjects"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sent are the methods that the goldens give the operator and the viewer.
var sent = map[subjects.Role][]string{
	subjects.Operator: {"nginxconfig", "reload"},
	subjects.Viewer:   {"healthreport"},
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not as it was: look at the difference, then run go test -update\n--- now\n%s", path, got)
	}
}

func goldenJSON(t *testing.T, name string, value any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		t.Fatal(err)
	}
	golden(t, name, b.Bytes())
}

func TestTheTableDoesNotChangeUnseen(t *testing.T) {
	var b bytes.Buffer
	for _, row := range subjects.Table() {
		fmt.Fprintf(&b, "%s\n  %s\n  publish %v, subscribe %v", row.Subject, row.Description, row.Publishes, row.Subscribes)
		if row.Stream != "" {
			fmt.Fprintf(&b, ", kept by %s", row.Stream)
		}
		b.WriteString("\n")
	}
	golden(t, "table.txt", b.Bytes())
}

func TestNoRolesPermissionsChangeUnseen(t *testing.T) {
	for _, role := range subjects.Roles() {
		goldenJSON(t, "grant-"+string(role)+".json", subjects.Grant(role, sent[role]))
	}
}

func TestWhatCrossesALeafnodesLineDoesNotChangeUnseen(t *testing.T) {
	goldenJSON(t, "grant-leaf.json", subjects.GrantLeaf())
}

func TestTheStorageDoesNotChangeUnseen(t *testing.T) {
	goldenJSON(t, "storage.json", map[string]any{
		"streams":  subjects.Streams(subjects.Settings{}),
		"buckets":  subjects.Buckets(subjects.Settings{}),
		"mappings": subjects.Mappings(),
	})
}
