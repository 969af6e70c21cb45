package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
)

// Somebody applies something else between one's plan and one's apply: nothing
// of the older plan is stored.
func TestApplyOfAnOutdatedPlanIsRefused(t *testing.T) {
	f := fleetOfTwo(t)
	mine, theirs := filepath.Join(t.TempDir(), "mine.yaml"), filepath.Join(t.TempDir(), "theirs.yaml")
	write(t, mine, site("contested", "index=1", 8093, "mine"))
	write(t, theirs, site("contested", "index=1", 8093, "theirs"))

	var out, errs bytes.Buffer
	a := newApp()
	a.stdout, a.stderr, a.output = &out, &errs, "table"
	url, _ := fairlead(t, f.env(), 0, "context", "ls", "-o", "json")
	_, url, _ = strings.Cut(url, `"url": "`)
	a.url, _, _ = strings.Cut(url, `"`)
	a.creds = filepath.Join(f.data, "identity/tenants/main/users/admin.creds")
	c, err := a.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set, err := manifest.Load(mine)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := c.Plan(t.Context(), set, false)
	if err != nil {
		t.Fatal(err)
	}
	fairlead(t, f.env(), 0, "apply", "-f", theirs, "--message", "first come", "--wait")
	err = a.carryOut(t.Context(), c, plan, true, days(time.Minute))
	a.begun = true
	if code := a.exit(t.Context(), newRoot(a), err); code != message.ExitRefused {
		t.Errorf("exit code %d", code)
	}
	for _, says := range []string{"VirtualHost/contested: what admin made of it", "what you would make of it", "theirs", "mine",
		"nothing was applied: somebody changed the same while admin planned this", "created by admin as well, from elsewhere, revision ", "(“first come”)",
		"look with `fairlead diff` and apply again"} {
		if out.Len() > 0 || !strings.Contains(errs.String(), says) {
			t.Errorf("stdout %q, stderr %q, want %q", out.String(), errs.String(), says)
		}
	}
	stored, _ := fairlead(t, f.env(), 0, "get", "VirtualHost", "contested", "-o", "yaml")
	if !strings.Contains(stored, "theirs") {
		t.Errorf("stored is:\n%s", stored)
	}
	fairlead(t, f.env(), 0, "delete", "-f", theirs, "--wait")
}
