package dev_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	root   = "../.."
	module = "fairlead"
)

// layout is who may import whom, from the bottom to the top: a package stands
// below all that import it. docs/adr/0001-layers.md says why it is so. Tests
// may import more; they end where the product begins.
var layout = []struct{ name, may string }{
	// Leaves: words, the machine, a format.
	{"pkg/fleet", ""},
	{"docs/resources", ""},
	{"pkg/fleet/certtest", ""},
	{"pkg/broker/tampertest", ""},
	{"pkg/message/packtest", ""},
	{"pkg/host", ""},
	{"pkg/host/hosttest", ""},
	{"pkg/syslog", ""},
	// What is said, written, kept and served.
	{"subjects", "pkg/fleet"},
	{"pkg/manifest", "pkg/fleet"},
	{"pkg/journal", "pkg/fleet"},
	{"pkg/health", "pkg/fleet pkg/host"},
	{"pkg/nginx", "pkg/fleet pkg/health pkg/host pkg/syslog"},
	{"pkg/message", "pkg/fleet subjects"},
	{"pkg/adopt", "pkg/fleet pkg/nginx"},
	{"pkg/rollout", "pkg/fleet"},
	// How it travels, and who says it.
	{"pkg/bus", "pkg/fleet pkg/host pkg/message subjects"},
	{"pkg/identity", "pkg/fleet pkg/message subjects"},
	{"pkg/broker", "pkg/fleet pkg/identity"},
	{"pkg/announce", "pkg/bus pkg/fleet pkg/identity pkg/message subjects"},
	// What a node can do.
	{"handlers", "pkg/adopt pkg/fleet pkg/host pkg/message pkg/nginx pkg/syslog subjects"},
	{"handlers/handlerstest", "handlers pkg/fleet pkg/host pkg/nginx subjects"},
	// The two ends, which know each other by their messages alone.
	{"pkg/station", "handlers pkg/bus pkg/fleet pkg/message pkg/nginx pkg/rollout subjects"},
	{"pkg/agent", "handlers pkg/bus pkg/fleet pkg/host pkg/journal pkg/message pkg/nginx subjects"},
	{"pkg/join", "pkg/bus pkg/fleet pkg/identity pkg/message subjects"},
	// Who uses them.
	{"pkg/client", "handlers pkg/bus pkg/fleet pkg/manifest pkg/message pkg/nginx pkg/rollout pkg/station subjects"},
	{"pkg/bench", "handlers pkg/agent pkg/broker pkg/bus pkg/client pkg/fleet pkg/host pkg/identity pkg/join pkg/manifest pkg/message pkg/nginx pkg/rollout pkg/station subjects"},
	{"pkg/dev", "handlers pkg/agent pkg/announce pkg/broker pkg/bus pkg/client pkg/fleet pkg/identity pkg/nginx pkg/station subjects"},
	{"cmd/fairlead", "docs/resources handlers pkg/agent pkg/announce pkg/bench pkg/broker pkg/bus pkg/client pkg/dev pkg/fleet pkg/host pkg/identity pkg/join pkg/manifest pkg/message pkg/nginx pkg/rollout pkg/station subjects"},
}

// owners are the packages that alone may import something from outside, so
// that each technology has one place where it is known.
var owners = map[string]string{
	"os/exec":                                 "pkg/host",
	"github.com/nats-io/nats.go":              "pkg/bus",
	"github.com/nats-io/nats-server":          "pkg/broker",
	"github.com/nats-io/jwt":                  "pkg/identity",
	"filippo.io/age":                          "pkg/identity",
	"github.com/nats-io/nkeys":                "pkg/identity pkg/message",
	"github.com/klauspost/compress":           "pkg/message pkg/message/packtest",
	"github.com/minio/highwayhash":            "pkg/broker/tampertest",
	"go.etcd.io/bbolt":                        "pkg/journal",
	"github.com/leodido/go-syslog":            "pkg/syslog",
	"github.com/nginxinc/nginx-go-crossplane": "pkg/nginx pkg/adopt",
	"github.com/shirou/gopsutil":              "pkg/host",
	"github.com/spf13/cobra":                  "cmd/fairlead",
	"github.com/spf13/pflag":                  "cmd/fairlead",
}

// topLevel are the names at the top of the tree beside dotfiles and what
// .gitignore names.
var topLevel = strings.Fields("cmd pkg subjects handlers examples testdata docs" +
	" go.mod go.sum Taskfile.yml README.md LICENSE CHANGELOG.md")

// pkg is what go list says of a package, its name without the module.
type pkg struct {
	ImportPath, Name, Doc              string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")
	list.Dir = root
	var complaint strings.Builder
	list.Stderr = &complaint
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaint.String())
	}
	all := make(map[string]pkg)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

func TestPackagesImportWhatTheLayoutAllows(t *testing.T) {
	all := packages(t)
	var below []string
	for _, row := range layout {
		may := strings.Fields(row.may)
		for _, m := range may {
			if !slices.Contains(below, m) {
				t.Errorf("layout: %s may import %s, which must stand above it in the table", row.name, m)
			}
		}
		below = append(below, row.name)
		p, there := all[row.name]
		if !there {
			t.Errorf("layout: there is no package %s: take its line out", row.name)
		}
		for _, path := range p.Imports {
			if name, own := strings.CutPrefix(path, module+"/"); own && !slices.Contains(may, name) {
				t.Errorf("%s may not import %s; see docs/adr/0001-layers.md", row.name, name)
			}
		}
	}
	for name := range all {
		if !slices.Contains(below, name) {
			t.Errorf("%s is not in the layout: give it a line there and in docs/architecture.md", name)
		}
	}
}

func TestFleetImportsTheStandardLibraryAlone(t *testing.T) {
	for _, path := range packages(t)["pkg/fleet"].Imports {
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") || first == module {
			t.Errorf("pkg/fleet imports %s", path)
		}
	}
}

func TestStationAndAgentAreStrangers(t *testing.T) {
	all := packages(t)
	for name, other := range map[string]string{"pkg/station": "pkg/agent", "pkg/agent": "pkg/station"} {
		if slices.Contains(all[name].Imports, module+"/"+other) {
			t.Errorf("%s imports %s: they meet in their messages alone", name, other)
		}
	}
}

func TestEachTechnologyHasOneOwner(t *testing.T) {
	for name, p := range packages(t) {
		for _, path := range p.Imports {
			for outside, owner := range owners {
				within := path == outside || strings.HasPrefix(path, outside+"/")
				if within && !slices.Contains(strings.Fields(owner), name) {
					t.Errorf("%s imports %s, which is for %s alone", name, path, owner)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for name, p := range packages(t) {
		begin := "Package " + p.Name
		if p.Name == "main" {
			begin = "Command " + path.Base(name)
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, begin+" ") {
			t.Errorf("%s has no doc comment that begins with %q", name, begin)
		}
	}
}

func TestEveryDirectDependencyHasAReason(t *testing.T) {
	const golden = "testdata/dependencies.golden"
	reasons := readReasons(t, golden)
	var now strings.Builder
	for _, dependency := range directDependencies(t) {
		reason := reasons[dependency]
		if reason == "" {
			t.Errorf("%s: say in pkg/dev/%s why ten lines of our own do not do", dependency, golden)
		}
		now.WriteString(strings.TrimRight(dependency+": "+reason, " ") + "\n")
		delete(reasons, dependency)
	}
	for _, dependency := range slices.Sorted(maps.Keys(reasons)) {
		if !*update {
			t.Errorf("%s is not used any more: take it out of pkg/dev/%s", dependency, golden)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readReasons(t *testing.T, golden string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	reasons := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		dependency, reason, _ := strings.Cut(strings.TrimSpace(line), ":")
		reasons[dependency] = strings.TrimSpace(reason)
	}
	return reasons
}

// directDependencies are the modules that go.mod requires without calling
// them indirect, and those that a package or a test imports all the same.
func directDependencies(t *testing.T) []string {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	required := make(map[string]bool) // true where it is direct
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line, comment, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "require "), "//")
		words := strings.Fields(line)
		if len(words) == 2 && strings.HasPrefix(words[1], "v") {
			required[words[0]] = strings.TrimSpace(comment) != "indirect"
		}
	}
	for _, p := range packages(t) {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			longest := ""
			for m := range required {
				if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(longest) {
					longest = m
				}
			}
			if longest != "" {
				required[longest] = true
			}
		}
	}
	maps.DeleteFunc(required, func(_ string, direct bool) bool { return !direct })
	return slices.Sorted(maps.Keys(required))
}

func TestTheTopOfTheTreeIsTidy(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignoredAtTop(t)
	for _, e := range entries {
		if !ignored(e.Name()) && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top of the tree", e.Name())
		}
	}
}

func ignoredAtTop(t *testing.T) func(name string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) bool {
		return slices.ContainsFunc(strings.Fields(string(text)), func(pattern string) bool {
			match, err := path.Match(strings.Trim(pattern, "/"), name)
			return match && err == nil
		})
	}
}

func TestNoFilePointsOutOfTheTree(t *testing.T) {
	const elsewhere = "/work" + "/" // a place that other machines do not have
	ignored := ignoredAtTop(t)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == ".git" || filepath.Dir(path) == root && ignored(e.Name())) {
			return filepath.SkipDir
		}
		if !e.Type().IsRegular() || ignored(e.Name()) || e.Name() == ".git" { // a file in a second working tree
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(elsewhere)) {
			t.Errorf("%s names a place below %s", path, elsewhere)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
