package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"fairlead/pkg/agent"
	"fairlead/pkg/broker"
	"fairlead/pkg/host/hosttest"
	"fairlead/pkg/identity"
	"fairlead/pkg/station"
)

// childEnv in the environment turns the test binary into one part of a fleet,
// as its JSON says, so that the part can be killed.
const childEnv = "FAIRLEAD_TEST_CHILD"

type child struct {
	Part  string // "agent", "broker" or "station"
	Dir   string // of the fleet
	URL   string
	Node  string
	State string
	Port  int
	// KillAt is the point at which an agent kills itself, "" for none.
	KillAt string
	// KillAfter is how often it passes that point before.
	KillAfter int
	// Identity is where the identity of an agent lies that may get another name.
	Identity string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := beChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(hosttest.Run(func() int {
		defer closeShared()
		return m.Run()
	}))
}

func beChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say := func(ready <-chan struct{}) {
		<-ready
		fmt.Println("ready")
	}
	switch c.Part {
	case "broker":
		authority, err := openAuthority(c.Dir)
		if err != nil {
			return err
		}
		b, err := broker.New(broker.Config{StoreDir: filepath.Join(c.Dir, "broker"), Port: c.Port, Sync: "always", Plain: true,
			Server: authority.Server(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		go say(b.Ready())
		return b.Run(ctx)
	case "station":
		cfg, err := stationConfig(c.Dir, c.URL)
		if err != nil {
			return err
		}
		s, err := station.New(cfg)
		if err != nil {
			return err
		}
		go say(s.Ready())
		return s.Run(ctx)
	}
	k := &killer{at: c.KillAt, pass: c.KillAfter, ready: make(chan struct{})}
	if c.Identity != "" {
		go say(k.ready)
		return beRenamable(ctx, c, k.reached)
	}
	cfg, err := agentConfig(c.Dir, c.URL, c.Node, c.State)
	if err != nil {
		return err
	}
	cfg.Registry = registry(effectsOf(c.State), func() { k.reached(pointRunning) })
	cfg.Checkpoint = k.reached
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	go say(k.ready)
	return a.Run(ctx)
}

// pointRunning is in the middle of a handler, after its effect.
const pointRunning = "running"

// points are all points of a command's life, in order.
var points = []string{agent.PointReceived, agent.PointQueued, agent.PointStarted, pointRunning,
	agent.PointDone, agent.PointFinished, agent.PointPublished, agent.PointSettled}

// killer kills its process the first time a command reaches a point. The event
// that tells of the agent's start passes the last points too, so those count
// only behind it.
type killer struct {
	at    string
	pass  int // so often it does not
	mu    sync.Mutex
	told  bool
	ready chan struct{} // closed when the start is told
}

func (k *killer) reached(point string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.told && (point == agent.PointPublished || point == agent.PointSettled) {
		if k.told = point == agent.PointSettled; k.told {
			close(k.ready)
		}
		return
	}
	if point == k.at && k.pass > 0 {
		k.pass--
	} else if point == k.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// process is a child that runs.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// spawn starts a child and waits until it is ready, or has ended: an agent may
// be killed before.
func spawn(t *testing.T, c child) *process {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	t.Cleanup(func() { p.kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && strings.TrimSpace(line) != "ready" {
		t.Fatalf("the %s says %q", c.Part, line)
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p
}

// kill ends the child with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// killed waits for the child to have killed itself.
func (p *process) killed(t *testing.T) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	select {
	case <-p.ended:
	case <-ctx.Done():
		t.Fatal("the agent did not come to the point")
	}
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the agent ended by itself: %s", p.cmd.ProcessState)
	}
}

func openAuthority(dir string) (*identity.Authority, error) {
	return identity.Open(filepath.Join(dir, "identity"), identity.Options{Methods: registry(effects{}, nil).Sent()})
}
