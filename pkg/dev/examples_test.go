package dev_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/manifest"
)

// What the documentation shows can be tried: each example changes a node of
// `fairlead dev` as it stands, or it is said why not, and all of them together
// are served.
func TestEveryResourceExampleCanBeTried(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/resources")); err != nil {
		t.Fatal(err)
	}
	pair := certtest.New(t).Issue("www.example.org", "example.org")
	for _, name := range []string{"www", "shop"} {
		pair.Write(t, dir, name+".crt", name+".key")
	}
	_, c, _ := whole(t, options(t, 2))
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	ctx, cancel := patient(t)
	defer cancel()
	for _, file := range files {
		set, err := manifest.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Plan(ctx, set, false)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
			continue
		}
		selects := filepath.Base(file) != "nodepolicy.yaml" // which is for nodes of shops
		if none := strings.Contains(strings.Join(p.Warnings, "\n"), "selects no node"); none == selects || len(p.LeftOut) > 0 || (len(p.Nodes) > 0) != selects {
			t.Errorf("%s: %d nodes change, left out %v, warned of %q", filepath.Base(file), len(p.Nodes), p.LeftOut, p.Warnings)
		}
	}
	set, err := manifest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if told := succeeds(t, c, set, false); len(told) != 2 {
		t.Errorf("%d nodes were told", len(told))
	}
}
