package nginx_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

var update = flag.Bool("update", false, "write what is rendered now into testdata")

// Each file under testdata/render holds a comment that may begin with
// "address: ADDRESS", the input resources.json, and what it renders to: the
// files of the bundle, or the faults.
func TestRenderedFilesAreAsReviewed(t *testing.T) {
	paths, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			was := parseArchive(string(data))
			got := renderCase(t, was).String()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(data); got != want {
				t.Errorf("got\n%s\nwant\n%s\n(go test -update writes it)", got, want)
			}
		})
	}
}

func renderCase(t *testing.T, c archive) archive {
	var address string
	for line := range strings.Lines(c.comment) {
		if a, ok := strings.CutPrefix(line, "address: "); ok {
			address = strings.TrimSpace(a)
		}
	}
	var resources []fleet.Resource
	if err := json.Unmarshal([]byte(c.files[0][1]), &resources); err != nil {
		t.Fatal(err)
	}
	out := archive{c.comment, c.files[:1:1]}
	b, err := nginx.Render(address, resources)
	if err != nil {
		out.files = append(out.files, [2]string{"faults", err.Error() + "\n"})
	}
	for _, f := range b.Files {
		if f.Path != "mime.types" { // no function of the input
			out.files = append(out.files, [2]string{f.Path, string(f.Content)})
		}
	}
	return out
}

// archive is a txtar file: a comment, then files that begin with "-- NAME --".
type archive struct {
	comment string
	files   [][2]string // name, content
}

func parseArchive(text string) archive {
	var a archive
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --\n") {
			a.files = append(a.files, [2]string{strings.TrimSuffix(name, " --\n"), ""})
		} else if n := len(a.files); n > 0 {
			a.files[n-1][1] += line
		} else {
			a.comment += line
		}
	}
	return a
}

func (a archive) String() string {
	text := a.comment
	for _, f := range a.files {
		text += "-- " + f[0] + " --\n" + f[1]
	}
	return text
}
