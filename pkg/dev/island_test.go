package dev_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/dev"
	"fairlead/pkg/host"
)

// island is a node whose broker and station can go and come back.
type island struct {
	*rig
	options dev.Options
	parts   []*part
}

func newIsland(t *testing.T) *island {
	t.Helper()
	return newIslands(t, 1)
}

func newIslands(t *testing.T, nodes int) *island {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i := &island{options: options(t, nodes)}
	i.options.NATS = l.Addr().String()
	l.Close()
	i.mainland(t)
	return i
}

// mainland runs broker and station on the data that there is.
func (i *island) mainland(t *testing.T) {
	t.Helper()
	d, err := dev.New(i.options)
	if err != nil {
		t.Fatal(err)
	}
	i.rig = &rig{Dev: d, t: t}
	if i.nodes, err = d.Nodes(); err != nil {
		t.Fatal(err)
	}
	broker := begin(t, d.Broker().Ready(), d.Broker().Run)
	i.parts = []*part{i.station(), broker}
}

// cutOff ends broker and station.
func (i *island) cutOff(t *testing.T) {
	t.Helper()
	i.client.Close()
	for _, p := range i.parts {
		p.stop(t)
	}
}

// alone starts the node's agent where no broker answers.
func (i *island) alone(t *testing.T) (*agent.Agent, *part) {
	t.Helper()
	cfg, err := i.AgentConfig(i.nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the agent, by the order of clean-ups
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Engine().Stop(ctx); err != nil {
			t.Error("nginx:", err)
		}
	})
	p := begin(t, a.Engine().Looked(), a.Run)
	return a, p
}

func (i *island) pid(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(i.nodes[0].Dir, "run", "nginx.pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// kill ends a process of this node's nginx, which has to be one.
func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := host.OpenProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if title, err := host.Title(pid); err != nil || !strings.HasPrefix(title, "nginx: ") {
		t.Fatalf("process %d is %q", pid, title)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := patient(t)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAnIslandKeepsItsSiteAndTellsAfterwardsWhatHappened(t *testing.T) {
	t.Parallel()
	i := newIsland(t)
	at := i.nodes[0].Address
	on := i.agent(0)
	succeeds(t, i.client, set(t, site("s", "", 8080, "kept")), false)
	inSync(t, i.client, "node1")
	i.cutOff(t)

	answers := func() bool { code, body := get(at, 8080); return code == 200 && body == "kept" }
	dead := i.pid(t)
	kill(t, dead)
	eventually(t, "nginx is back without a link", func() bool { pid := i.pid(t); return pid != 0 && pid != dead && answers() })

	// The agent is restarted, as by an upgrade.
	pid := i.pid(t)
	on.stop(t)
	if !answers() {
		t.Error("the end of the agent ended the site")
	}
	a, on := i.alone(t)
	if s, err := a.Engine().Status(t.Context()); err != nil || !s.Up || s.PID != pid {
		t.Errorf("nginx was not adopted: %+v, %v; before it was %d", s, err, pid)
	}

	// The host is restarted: no process is left, no /run, and start times count anew.
	on.stop(t)
	workers, err := host.Children(pid)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, pid)
	for _, w := range workers {
		kill(t, w)
	}
	dir := i.nodes[0].Dir
	master := filepath.Join(dir, "nginx", "master.json")
	// The pid belongs to somebody else after a boot.
	old := fmt.Sprintf(`{"boot":"another","pid":%d,"started":1,"session":%d}`, os.Getpid(), os.Getpid())
	if err := os.WriteFile(master, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	_, on = i.alone(t)
	eventually(t, "the site is back after a boot", answers)

	// Once more, with a journal that the reset has damaged.
	on.stop(t)
	kill(t, i.pid(t))
	journal := filepath.Join(dir, "state", "journal.db")
	if err := os.WriteFile(journal, []byte(strings.Repeat("not a journal", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	i.alone(t)
	eventually(t, "the site is back with a damaged journal", answers)
	dead = i.pid(t)
	kill(t, dead)
	eventually(t, "nginx is back again", func() bool { pid := i.pid(t); return pid != 0 && pid != dead && answers() })

	i.mainland(t)
	eventually(t, "what happened is told", func() bool {
		ctx, cancel := patient(t)
		defer cancel()
		all, err := i.client.Happenings(ctx, "node1", time.Time{}, 50)
		return err == nil && hasRecovery(all, dead)
	})
	succeeds(t, i.client, set(t, site("s", "", 8080, "newer")), false)
	inSync(t, i.client, "node1")
	serves(t, at, 8080, "newer")
}

func hasRecovery(all []client.Happening, pid int) bool {
	for _, h := range all {
		if h.Event == "recovered" && strings.Contains(h.Text, fmt.Sprint(pid)) && h.Proven {
			return true
		}
	}
	return false
}
