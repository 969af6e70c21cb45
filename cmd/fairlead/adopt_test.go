package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A host with an nginx of its own: it is read, taken over while it serves, and
// then follows the fleet.
func TestAHostsOwnNginxIsAdopted(t *testing.T) {
	address := loopbackBlock(10)
	p := startParts(t, address)
	t.Cleanup(p.stopNginx)
	p.agent.ends(t, syscall.SIGTERM, 0)
	host := filepath.Join(p.dir, "host")
	run := filepath.Join(host, "run")
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	const port = 8000
	conf := filepath.Join(host, "nginx.conf")
	content := fmt.Sprintf("pid %s/nginx.pid;\nerror_log /dev/null;\nevents { }\nhttp {\n  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n  access_log off;\n"+
		"  server { listen %[2]s:%[3]d; server_name shop.example.org; location / { return 200 own; } }\n"+
		"  server { listen %[2]s:%[3]d; server_name odd.example.org; set $x odd; location / { return 200 $x; } }\n}\n", run, address, port)
	if err := os.WriteFile(conf, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	own := exec.Command("/usr/sbin/nginx", "-c", conf, "-g", "daemon off;", "-e", "stderr")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = own.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = own.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	p.serves(port, "own")
	p.agent = start(t, p.env, "agent", "--url", p.url, "--creds", p.creds("ship1"), "--trust", p.trust(),
		"--state", filepath.Join(p.dir, "state2"), "--run", run, "--logs", filepath.Join(host, "logs"),
		"--nginx", "external", "--nginx-conf", host, "--nginx-pid", filepath.Join(run, "nginx.pid"), "--nginx-workers", "1", "--health-every", "1s")
	p.eventually(0, `ConfigFile/adopted-odd-example-org +raw`, "adopt", "ship1", "--dry-run")
	p.serves(port, "own")

	if _, said := fairlead(t, p.env, 2, "adopt", "ship1"); !strings.Contains(said, "--yes") {
		t.Errorf("without a person: %s", said)
	}
	fairlead(t, p.env, 2, "adopt", "ship1", "--conf", filepath.Join(host, "none.conf"), "--dry-run")

	out, said := fairlead(t, p.env, 0, "adopt", "ship1", "--yes")
	if !regexp.MustCompile(`nginxconfig.nginx +succeeded`).MatchString(out) {
		t.Errorf("got %s%s", out, said)
	}
	p.serves(port, "own")
	if got, _ := os.ReadFile(conf + ".before-fairlead"); string(got) != content {
		t.Errorf("the host's own configuration is not kept: %q", got)
	}
	select {
	case <-ended:
		t.Error("nginx ended")
	default:
	}
	p.eventually(0, `ship1 +online +in sync`, "status")
	if _, said = fairlead(t, p.env, 2, "adopt", "ship1", "--yes"); !strings.Contains(said, "nothing was changed") {
		t.Errorf("a second time: %s", said)
	}
}
