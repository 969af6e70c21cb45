package manifest_test

import (
	"os"
	"path/filepath"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
)

const examples = "../../examples"

func TestEveryExampleIsValid(t *testing.T) {
	entries, err := os.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "messages" { // commands, which cmd/fairlead tests
			continue
		}
		dir := filepath.Join(examples, e.Name())
		if files, _ := filepath.Glob(filepath.Join(dir, "*.yaml")); len(files) == 0 {
			continue // an example of something other than resources
		}
		set, err := manifest.Load(dir)
		if err != nil {
			t.Errorf("%s:\n%v", dir, err)
		}
		for _, r := range set.Resources() {
			loaded++
			spec, ok := r.Spec.(fleet.Needing)
			if !ok {
				continue
			}
			for _, need := range spec.Needs() {
				if _, found := set.Find(need.ID()); !found {
					t.Errorf("%s: %s needs %s, which the example lacks", dir, r.ID(), need.ID())
				}
			}
		}
	}
	if loaded < 5 {
		t.Errorf("%d resources in all examples, want hello's one and proxy's four at least", loaded)
	}
}

func TestHelloAnswersItsText(t *testing.T) {
	set, err := manifest.Load(filepath.Join(examples, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	host := set.Resources()[0].Spec.(*fleet.VirtualHost)
	if got, want := host.Locations[0].Return.Text, "Hello from Fairlead.\n"; got != want {
		t.Errorf("hello answers %q, want %q", got, want)
	}
}
