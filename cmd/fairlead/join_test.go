package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// A host that joined needs its state directory and nothing else: its agent
// serves what is applied, takes another key, and is as it was after a restart.
func TestAHostThatJoinedNeedsItsStateDirectoryAlone(t *testing.T) {
	p := startParts(t, loopbackBlock(12))
	address := loopbackBlock(13)
	state := filepath.Join(p.dir, "ship3", "state")
	out, _ := fairlead(t, p.env, 0, "token", "create", "--node", "ship3", "--label", "role=joined", "--address", address)
	line := strings.Fields(out)
	if len(line) != 3 || line[0] != "fairlead" || line[1] != "join" {
		t.Fatalf("token create says:\n%s", out)
	}
	elsewhere := home(filepath.Join(p.dir, "ship3")) // no context, as on another host
	fairlead(t, elsewhere, 0, "join", line[2], "--state", state)

	agent := func() *process {
		dir := filepath.Join(p.dir, "ship3")
		return start(t, elsewhere, "agent", "--state", state, "--run", filepath.Join(dir, "run"), "--logs", filepath.Join(dir, "logs"),
			"--nginx-conf", filepath.Join(dir, "conf"), "--nginx-workers", "1", "--health-every", "1s")
	}
	running := agent()
	t.Cleanup(func() { stopNginxIn(t, filepath.Join(p.dir, "ship3")) })
	t.Cleanup(p.stopNginx)
	p.eventually(0, `^ship3 +online`, "nodes")
	file := filepath.Join(p.dir, "joined.yaml")
	write(t, file, site("joined", "role=joined", 8080, "hello from ship3"))
	p.eventually(0, `ship3 +nginxconfig.nginx +succeeded`, "apply", "-f", file, "--wait")
	serves := func() {
		t.Helper()
		eventually(t, func() error {
			got, err := get(fmt.Sprintf("http://%s:8080/", address))
			if err == nil && got != "hello from ship3" {
				err = fmt.Errorf("it answers %q", got)
			}
			return err
		})
	}
	serves()

	before, err := os.ReadFile(filepath.Join(state, "identity", "node.creds"))
	if err != nil {
		t.Fatal(err)
	}
	_, said := fairlead(t, p.env, 0, "rotate", "node", "ship3")
	if !strings.Contains(said, "brokers let in 1 old key no more") {
		t.Errorf("it says %q", said)
	}
	after, err := os.ReadFile(filepath.Join(state, "identity", "node.creds"))
	if err != nil || string(after) == string(before) {
		t.Error("the node has the credentials that it had:", err)
	}
	old := filepath.Join(p.dir, "old.creds")
	write(t, old, string(before))
	creds, err := identity.LoadCreds(old)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(t.Context(), bus.Options{URL: p.url, TLS: bus.TLS{CA: filepath.Join(state, "identity", "ca.pem")}, Credentials: creds})
	if fleet.KindOf(err) != fleet.Refused {
		if c != nil {
			c.Close()
		}
		t.Errorf("the broker lets the old key in: %v", err)
	}
	running.ends(t, syscall.SIGTERM, 0)
	running = agent()
	p.eventually(0, `^ship3 +online .* in sync`, "nodes")
	eventually(t, func() error { // as soon as it has told of itself by the new key
		if _, said := fairlead(t, p.env, 0, "rotate", "node", "ship3", "--finish"); !strings.Contains(said, "brokers let in 1 old key no more") {
			return errors.New(said)
		}
		return nil
	})
	history, _ := fairlead(t, p.env, 0, "audit", "--node", "ship3")
	for _, pattern := range []string{`identity +joined`, `identity +rotated`, `renewidentity +.*succeeded`} {
		if !regexp.MustCompile(pattern).MatchString(history) {
			t.Errorf("the audit has no %q:\n%s", pattern, history)
		}
	}
	if strings.Contains(history, "not proven") {
		t.Errorf("what the former key signed is not proven:\n%s", history)
	}

	fairlead(t, p.env, 0, "nodes", "rm", "ship3", "--yes")
	out, _ = fairlead(t, p.env, 0, "nodes", "rm", "ship3", "--yes", "--revoke", "--reason", "stolen") // also later
	if !strings.Contains(out, "revoked 2 keys of ship3") {
		t.Errorf("its former key is not revoked:\n%s", out)
	}
	running.err.await(t, `the broker refuses this node and it cannot renew its JWT`)
	serves() // it goes on with what it has
	running.ends(t, syscall.SIGTERM, 0)
	p.agent.ends(t, syscall.SIGTERM, 0)
}
