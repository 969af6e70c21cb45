package manifest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
)

func TestEveryExampleInTheDocsIsValid(t *testing.T) {
	pages, err := filepath.Glob("../../docs/resources/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	var data []byte
	for _, page := range append(pages, "../../docs/resources.md") {
		if data, err = os.ReadFile(page); err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(data, -1) {
			set, err := manifest.Read(filepath.Base(page), strings.NewReader(string(m[1])))
			if err != nil {
				t.Errorf("%v\nin\n%s", err, m[1])
			}
			for _, r := range set.Resources() {
				shown[r.Kind] = true
			}
		}
	}
	for _, kind := range fleet.Kinds() {
		if !shown[kind] {
			t.Errorf("the docs have no example of %s", kind)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*`) \\| (?:whose|that)").FindAllStringSubmatch(string(data), -1) {
		for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[1], -1) {
			if _, err := fleet.ParseSelector(text[1]); err != nil {
				t.Errorf("the docs show a selector that is wrong: %v", err)
			}
		}
	}
}
