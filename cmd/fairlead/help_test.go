package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp holds every --help. Rewrite it with -args -update; the diff is the
// review.
func TestHelp(t *testing.T) {
	const golden = "testdata/help.txt"
	var got bytes.Buffer
	walk(newRoot(newApp()), func(c *cobra.Command) {
		a := newApp()
		a.stdout = &got
		root := newRoot(a)
		_, args, _ := bytes.Cut([]byte(c.CommandPath()), []byte(" "))
		var words []string
		for _, w := range bytes.Fields(args) {
			words = append(words, string(w))
		}
		got.WriteString("$ " + c.CommandPath() + " --help\n")
		root.SetArgs(append(words, "--help"))
		if err := root.Execute(); err != nil {
			t.Errorf("%s --help: %v", c.CommandPath(), err)
		}
		got.WriteString("\n")
	})
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the help changed: look with git diff after\n  go test ./cmd/fairlead -run TestHelp -args -update")
	}
}
