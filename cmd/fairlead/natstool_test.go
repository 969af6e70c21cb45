//go:build natstool

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fairlead/subjects"
)

// natsVersion is the nats tool that `task natstool` builds.
const natsVersion = "v0.3.0"

// natsTool finds it: on the PATH, or where the task puts it.
func natsTool(t *testing.T) string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	if path, err := exec.LookPath("nats"); err == nil {
		there = append(there, path)
	}
	for _, path := range append(there, filepath.Join(strings.TrimSpace(string(cache)), "fairlead", "nats-"+natsVersion, "nats")) {
		if out, err := exec.Command(path, "--version").Output(); err == nil && strings.TrimSpace(string(out)) == natsVersion {
			return path
		}
	}
	t.Fatalf("there is no nats %s: `task natstool` builds it, `task test:nats` runs this with it", natsVersion)
	return ""
}

// The context that dev writes is the nats tool's as well: it lists and hears
// what there is, and what it publishes is stored, shown, and refused by the node
// since nobody signed it.
func TestTheNatsToolSpeaksWithAFleet(t *testing.T) {
	path := natsTool(t)
	f := startDev(t, ownDir(t), loopbackBlock(15))
	nats := func(args ...string) *process {
		return startCommand(t, &exec.Cmd{Path: path, Args: append([]string{"nats", "--context", "fairlead-dev"}, args...), Env: f.env, Dir: os.TempDir()})
	}
	says := func(args ...string) string {
		t.Helper()
		p := nats(args...)
		p.ends(t, nil, 0)
		return p.out.text() + p.err.text()
	}

	streams := says("stream", "ls")
	for _, name := range []string{subjects.Commands, subjects.Events, subjects.Audit, subjects.Checkpoints, subjects.Health, subjects.Logs} {
		if !strings.Contains(streams, name) {
			t.Errorf("it lists no stream %s:\n%s", name, streams)
		}
	}
	services := says("micro", "ls")
	for _, name := range []string{"fairlead-join", "fairlead-query", "fairlead-sync"} {
		if !strings.Contains(services, name) {
			t.Errorf("it lists no service %s:\n%s", name, services)
		}
	}

	hears := nats("sub", "node1.>")
	hears.err.await(t, `Subscribing on node1\.>`)
	eventually(t, func() error { // it says so before it does
		stored := says("pub", "--jetstream", "node1.command.reload.nginx", "{}")
		if !strings.Contains(stored, "Stored in Stream: COMMANDS") {
			t.Fatalf("it says of its command:\n%s", stored)
		}
		if shown := hears.out.text(); !strings.Contains(shown, `Received on "node1.command.reload.nginx"`) {
			return fmt.Errorf("it hears:\n%s", shown)
		}
		return nil
	})
	hears.out.await(t, `Received on "node1\.event\.ack\.reload"\n(.+\n)*Fairlead-State: rejected\n(.+\n)*\n.*the message is not signed`)
	eventually(t, func() error {
		p := start(t, f.env, "audit", "--node", "node1")
		if _, err := p.wait(); err != nil {
			return err
		}
		for _, line := range []string{"by (unsigned)", "rejected"} {
			if text := p.out.text(); !strings.Contains(text, line) {
				return fmt.Errorf("the audit has no %q:\n%s", line, text)
			}
		}
		return nil
	})
	f.ends(t, syscall.SIGINT, 0)
}
