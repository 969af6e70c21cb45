package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
)

const upstream = `apiVersion: fairlead/v1
kind: Upstream
metadata:
  name: %s
spec:
  servers:
    - address: 127.0.0.1:9000
`

func read(t *testing.T, text string) manifest.Set {
	t.Helper()
	set, err := manifest.Read("test.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func faultsOf(t *testing.T, err error) fleet.Faults {
	t.Helper()
	var faults fleet.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("the error is %T (%v), want fleet.Faults", err, err)
	}
	return faults
}

func TestYAMLAndJSONGiveTheSameResource(t *testing.T) {
	yaml := read(t, fmt.Sprintf(upstream, "app")).Resources()
	data, err := json.Marshal(yaml[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, string(data)).Resources(); !reflect.DeepEqual(got, yaml) {
		t.Errorf("JSON gives %+v, YAML %+v", got, yaml)
	}
}

func TestDocumentsAreSplitAtMarkersOnly(t *testing.T) {
	text := "# first\n---\n" + fmt.Sprintf(upstream, "a") + "...\n---   # second\n" + fmt.Sprintf(upstream, "b") + "---\n---\n" +
		"apiVersion: fairlead/v1\nkind: ConfigFile\nmetadata: {name: c}\nspec:\n  context: http\n  content: |\n    # ---\n    \ttabbed;\n     ---\n"
	set := read(t, strings.ReplaceAll(text, "\n", "\r\n"))
	var got []string
	for _, d := range set.Documents() {
		got = append(got, fmt.Sprintf("%s:%d", d.Resource.ID(), d.Line))
	}
	if want := "[Upstream/a:3 Upstream/b:12 ConfigFile/c:21]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	c, _ := set.Find("ConfigFile/c")
	if got, want := c.Resource.Spec.(*fleet.ConfigFile).Content, "# ---\n\ttabbed;\n ---\n"; got != want {
		t.Errorf("content is %q, want %q", got, want)
	}
}

func TestMergedFieldsYieldToOwnOnes(t *testing.T) {
	set := read(t, `
apiVersion: fairlead/v1
kind: VirtualHost
metadata: {name: merge}
spec:
  listen: [{port: 80}]
  serverNames: [_]
  locations:
    - &base {path: /, return: {code: 204}}
    - <<: *base
      path: /b
    - <<: [{path: /c}, *base]
`)
	var got []string
	for _, l := range set.Resources()[0].Spec.(*fleet.VirtualHost).Locations {
		got = append(got, fmt.Sprintf("%s=%d", l.Path, l.Return.Code))
	}
	if want := "[/=204 /b=204 /c=204]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLaterFaultsAreLocated(t *testing.T) {
	set := read(t, "\n"+fmt.Sprintf(upstream, "app")+"---\n"+fmt.Sprintf(upstream, "other"))
	given := fleet.Faults{
		{Subject: "Upstream/app", Path: "spec.servers[0].address", Message: "does not resolve"},
		{Subject: "Upstream/other", Path: "spec.servers[0].weight", Message: "nearest is the server"},
		{Subject: "Upstream/other", Path: "spec.strategy", Message: "nearest is spec"},
		{Subject: "Upstream/other", Message: "the document"},
		{Subject: "Upstream/absent", Path: "spec", Message: "unknown"},
		{Subject: "Upstream/app", File: "else.yaml", Line: 3, Message: "known already"},
	}
	var got []string
	for _, f := range set.Locate(given) {
		got = append(got, fmt.Sprintf("%s:%d", f.File, f.Line))
	}
	if want := "[test.yaml:8 test.yaml:16 test.yaml:14 test.yaml:10 :0 else.yaml:3]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if given[0].File != "" {
		t.Error("Locate changed the faults that it was given")
	}
}

func TestAliasBombsEndSoon(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("apiVersion: fairlead/v1\nkind: VirtualHost\nmetadata: {name: bomb}\nspec:\n  listen: &l\n")
	for range 2000 {
		bomb.WriteString("  - {port: 80}\n")
	}
	bomb.WriteString("  locations:\n")
	for range 2000 {
		bomb.WriteString("  - {path: /, index: *l}\n")
	}
	merge := "apiVersion: fairlead/v1\nkind: Upstream\nmetadata: {name: m}\nspec:\n  servers: &a [" + strings.Repeat("{x: 1},", 3000) + "]\n" +
		"  strategy: &m {" + strings.Repeat("a: 1,", 3000) + "}\n  <<: [" + strings.Repeat("*m,", 10000) + "]\n"
	many := strings.Repeat("---\nx\n", 300_000)
	for name, text := range map[string]string{"lists": bomb.String(), "merges": merge, "documents": many} {
		start := time.Now()
		_, err := manifest.Read(name, strings.NewReader(text))
		if n := len(faultsOf(t, err)); n > 150 {
			t.Errorf("%s: %d faults, which nobody reads", name, n)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

func TestLoadSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, manifest.MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for path, want := range map[string]string{
		"":                           "name a file, a directory, or - for standard input",
		empty:                        "holds no *.yaml, *.yml or *.json file",
		filepath.Join(empty, "none"): "there is no such file or directory",
		large:                        "is larger than 4 MiB: split it",
	} {
		_, err := manifest.Load(path)
		if faults := faultsOf(t, err); len(faults) != 1 || !strings.Contains(faults[0].String(), want) || faults[0].File != path {
			t.Errorf("Load(%q) gives %v, want %q", path, err, want)
		}
	}
	if _, err := manifest.Load(); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("Load() gives %v, want an Invalid error", err)
	}
}

func TestLoadReadsInOrderAndOnce(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.yml": fmt.Sprintf(upstream, "b"), "a.yaml": fmt.Sprintf(upstream, "a"), "c.txt": "\t", ".d.yaml": "\t",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := manifest.Load(filepath.Join(dir, "b.yml"), dir, dir+"/./a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range set.Resources() {
		got = append(got, r.Metadata.Name)
	}
	if fmt.Sprint(got) != "[b a]" {
		t.Errorf("got %v, want [b a]", got)
	}
}

func TestDashIsStandardInput(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func(saved *os.File) { os.Stdin = saved }(os.Stdin)
	os.Stdin = in
	fmt.Fprintf(out, upstream, "piped")
	out.Close()
	set, err := manifest.Load("-")
	if err != nil {
		t.Fatal(err)
	}
	if d, found := set.Find("Upstream/piped"); !found || d.File != "stdin" || d.Line != 1 {
		t.Errorf("got %+v, want Upstream/piped from stdin", set.Documents())
	}
}

func FuzzReadGivesFaultsAndNeverPanics(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(fmt.Sprintf(upstream, "ok")))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("<<: &a {<<: *a}\nkind: Upstream"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := manifest.Read("f", strings.NewReader(string(data)))
		if err != nil {
			lines := strings.Count(string(data), "\n") + 1
			for _, fault := range faultsOf(t, err) {
				if fault.File != "f" || fault.Line < 0 || fault.Line > lines || fault.Message == "" {
					t.Fatalf("fault %+v of a file with %d lines", fault, lines)
				}
			}
			return
		}
		if len(set.Resources()) == 0 {
			t.Fatal("neither a resource nor a fault")
		}
		roundTrip(t, set.Resources())
	})
}
