package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// hosted is a node whose nginx runs a configuration that somebody else wrote.
func hosted(t *testing.T) (n *node, manager *host.Process, port int, conf string) {
	t.Helper()
	n = newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{n.cfg.State, n.cfg.Conf} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.cfg.Manage = nginx.External
	port = n.freePort()
	conf = filepath.Join(n.cfg.Conf, "nginx.conf")
	content := fmt.Sprintf("pid %s/nginx.pid;\nerror_log /dev/null;\nevents { }\nhttp {\n  access_log off;\n  limit_req_zone $uri zone=live:32k rate=100r/s;\n"+
		"  server { listen %s:%d; location / { limit_req zone=live burst=100; return 200 \"before\"; } }\n}\n", n.cfg.Run, n.address, port)
	if err := os.WriteFile(conf, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	manager = startNginx(t, conf)
	eventually(t, "the host's own nginx serves", func() bool { return n.get(port, "web.example.org", "/") == "200 before" })
	n.run()
	eventually(t, "the engine has looked", func() bool { _, err := n.Foreign(); _, serr := n.Status(t.Context()); return err == nil && serr == nil })
	return n, manager, port, conf
}

func (n *node) permit() {
	n.t.Helper()
	f, err := n.Foreign()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.PermitTakeover(f.Digest); err != nil {
		n.t.Fatal(err)
	}
}

func TestTheHostsOwnConfigurationIsLeftAloneUntilAPersonPermitsItsEnd(t *testing.T) {
	n, manager, port, conf := hosted(t)
	was, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.apply(1, site("web", port, "after")); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("without permission: %v", err)
	}
	if err := n.PermitTakeover(strings.Repeat("0", 64)); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("permission for another file: %v", err)
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 before" {
		t.Errorf("got %q", got)
	}
	n.permit()
	// What was seen is what may be replaced, and nothing else.
	if err := os.WriteFile(conf, append(was, '#'), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := n.apply(2, site("web", port, "after")); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("changed since: %v", err)
	}
	if err := os.WriteFile(conf, was, 0o644); err != nil {
		t.Fatal(err)
	}
	n.mustApply(3, site("web", port, "after"))
	if got := n.get(port, "web.example.org", "/"); got != "200 after" || n.status().PID != manager.PID {
		t.Errorf("got %q from %d, the host's was %d", got, n.status().PID, manager.PID)
	}
	if kept, err := os.ReadFile(conf + ".before-fairlead"); err != nil || string(kept) != string(was) {
		t.Errorf("kept %q, %v", kept, err)
	}
	if _, err := n.Foreign(); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("still foreign: %v", err)
	}
	n.crash()
	n.start()
	n.mustApply(4, site("web", port, "again"))
}

func TestAFirstVersionThatFailsGivesTheHostItsOwnConfigurationBack(t *testing.T) {
	n, manager, port, conf := hosted(t)
	was, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	n.permit()
	// nginx -t takes it; the running nginx has a zone of that name with another key.
	_, err = n.apply(1, site("web", port, "after"), raw("zone", "limit_req_zone $host zone=live:32k rate=1r/s;"))
	if err == nil || !strings.Contains(err.Error(), "the host's own configuration serves again") {
		t.Fatalf("got %v", err)
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 before" || !manager.Alive() {
		t.Errorf("got %q", got)
	}
	if now, err := os.ReadFile(conf); err != nil || string(now) != string(was) {
		t.Errorf("the file is %q, %v", now, err)
	}
	n.mustApply(2, site("web", port, "after"))
	if got := n.get(port, "web.example.org", "/"); got != "200 after" {
		t.Errorf("the next good version: %q", got)
	}
}

func TestATakeoverThatAKillCutOffIsUndone(t *testing.T) {
	n, _, port, conf := hosted(t)
	was, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	// As a kill leaves it between the commit and the proof.
	before := filepath.Join(n.cfg.State, "before")
	if err := os.MkdirAll(before, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(before, "nginx.conf"), was, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := host.Link(filepath.Join(n.cfg.State, "versions", "1-0123456789ab", "nginx.conf"), conf); err != nil {
		t.Fatal(err)
	}
	n.run()
	eventually(t, "the host's own configuration is back", func() bool { _, err := n.Foreign(); return err == nil })
	if now, err := os.ReadFile(conf); err != nil || string(now) != string(was) {
		t.Errorf("the file is %q, %v", now, err)
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 before" {
		t.Errorf("got %q", got)
	}
}
