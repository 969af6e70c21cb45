package nginx_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/host/hosttest"
	"fairlead/pkg/nginx"
)

// agentEnv makes a test process an agent that applies without end.
const agentEnv = "FAIRLEAD_TEST_AGENT"

type agentOrder struct {
	Config  nginx.Config
	Address string
	Port    int
}

func TestMain(m *testing.M) {
	if text := os.Getenv(agentEnv); text != "" {
		fmt.Fprintln(os.Stderr, applyWithoutEnd(text))
		os.Exit(1)
	}
	os.Exit(hosttest.Run(m.Run))
}

// applyWithoutEnd applies text after text until somebody kills it.
func applyWithoutEnd(text string) error {
	var order agentOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	e, err := nginx.New(order.Config)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(bg) }()
	select {
	case <-e.Ready():
	case err := <-ended:
		return err
	}
	for revision := uint64(time.Now().UnixNano()); ; revision++ {
		b, err := nginx.Render(order.Address, []fleet.Resource{site("web", order.Port, strconv.FormatUint(revision, 10))})
		if err != nil {
			return err
		}
		if _, err := e.Apply(bg, revision, b); err != nil {
			return err
		}
	}
}

func TestKilledAgentLeavesAServingNginxAndATreeThatConverges(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "0"))
	n.crash()
	order, err := json.Marshal(agentOrder{Config: withoutLog(n.cfg), Address: n.address, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	const seed1, seed2 = 20, 26
	random := rand.New(rand.NewPCG(seed1, seed2))
	for i := range 25 {
		p, err := host.Start(host.Daemon{Path: self, Env: append(os.Environ(), agentEnv+"="+string(order)), Stderr: log})
		if err != nil {
			t.Fatal(err)
		}
		wait(p, time.Duration(random.IntN(300))*time.Millisecond)
		if err := p.Signal(syscall.SIGKILL); err != nil {
			said, _ := os.ReadFile(log)
			t.Fatalf("agent %d had ended: %s", i, said)
		}
		wait(p, 5*time.Second)
		p.Close()
		if got := n.get(port, "web.example.org", "/"); !strings.HasPrefix(got, "200 ") {
			t.Fatalf("after kill %d: %q", i, got)
		}
	}
	n.start()
	if s := n.status(); !s.Up || s.Running != s.Disk || s.Workers != 2 {
		t.Errorf("status %+v", s)
	}
	n.mustApply(1<<63, site("web", port, "the end"))
	if got := n.get(port, "web.example.org", "/"); got != "200 the end" {
		t.Errorf("got %q", got)
	}
	if got := n.masters(); got != 1 {
		t.Errorf("%d masters", got)
	}
}

// wait waits for a process to end, at most so long; it does not mind when it lives on.
func wait(p *host.Process, atMost time.Duration) {
	ctx, cancel := within(atMost)
	defer cancel()
	_ = p.Wait(ctx)
}

// masters counts the masters that run from this node's link. A worker has its
// master's title for a moment after the fork.
func (n *node) masters() int {
	pids, err := host.Processes()
	if err != nil {
		n.t.Fatal(err)
	}
	isMaster := func(pid int) bool {
		title, err := host.Title(pid)
		return err == nil && strings.HasPrefix(title, "nginx: master process") && strings.Contains(title, n.cfg.Conf+"/nginx.conf")
	}
	count := 0
	for _, pid := range pids {
		if !isMaster(pid) {
			continue
		}
		if a, err := host.ReadActivity(pid); err == nil && !isMaster(a.Parent) {
			count++
		}
	}
	return count
}

func withoutLog(c nginx.Config) nginx.Config {
	c.Logger = nil
	return c
}
