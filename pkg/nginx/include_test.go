package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// included is a node whose host keeps its own nginx.conf, with a line in its
// http{} and a site of its own.
func included(t *testing.T, line func(conf string) string) (n *node, port int) {
	t.Helper()
	n = newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n.cfg.State); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(n.cfg.Conf, "nginx.conf")); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(filepath.Dir(n.cfg.Conf), "host")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	n.cfg.Manage, n.cfg.HostConf = nginx.External, filepath.Join(own, "nginx.conf")
	port = n.freePort()
	content := fmt.Sprintf("worker_processes 3;\npid %s/nginx.pid;\nerror_log /dev/null;\nevents { }\nhttp {\n  access_log off;\n  sendfile on;\n"+
		"  server { listen %s:%d; server_name own.example.org; location / { return 200 own; } }\n  include rel*.conf;\n  %s\n}\n", n.cfg.Run, n.address, port, line(n.cfg.Conf))
	if err := os.WriteFile(n.cfg.HostConf, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "rel1.conf"), []byte("gzip on;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	startNginx(t, n.cfg.HostConf)
	eventually(t, "the host's own nginx serves", func() bool { return n.get(port, "own.example.org", "/") == "200 own" })
	n.run()
	return n, port
}

func TestAHostThatKeepsItsNginxConfIncludesWhatFairleadManages(t *testing.T) {
	n, port := included(t, func(conf string) string { return "include " + conf + "/fairlead.con[f];" })
	<-n.Ready()
	n.mustApply(1, site("web", port, "fairlead's"))
	if got := n.get(port, "web.example.org", "/") + n.get(port, "own.example.org", "/"); got != "200 fairlead's200 own" {
		t.Errorf("got %q", got)
	}
	// What does not hold together with the host's own part is refused before nginx is told.
	before := n.workers()
	if _, err := n.apply(2, site("web", port, "x"), raw("twice", "sendfile off;")); err == nil || !strings.Contains(err.Error(), `"sendfile" directive is duplicate`) {
		t.Errorf("got %v", err)
	}
	if n.workers() != before {
		t.Error("nginx was reloaded")
	}
	n.crash()
	n.start()
	n.mustApply(3, site("web", port, "again"))
	if got := n.get(port, "web.example.org", "/"); got != "200 again" {
		t.Errorf("got %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(n.cfg.HostConf), ".fairlead-*")); len(left) != 0 {
		t.Errorf("copies are left: %v", left)
	}
}

func TestAHostThatIncludesNothingIsToldWhichLineItNeeds(t *testing.T) {
	n, port := included(t, func(string) string { return "" })
	<-n.Looked()
	_, err := n.apply(1, site("web", port, "x"))
	if fleet.KindOf(err) != fleet.Failed || !strings.Contains(err.Error(), "write this line into its http { }") {
		t.Errorf("got %v", err)
	}
	if got := n.get(port, "own.example.org", "/"); got != "200 own" {
		t.Errorf("got %q", got)
	}
}
