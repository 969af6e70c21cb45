package dev_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/dev"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// patience is how long anything may take that must happen; it is only waited
// for when a test fails.
const patience = 60 * time.Second

func patient(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), patience)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

// part is something that runs until it is stopped.
type part struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
	once   sync.Once
}

// begin runs a part, waits until it is ready, and stops it with the test.
func begin(t *testing.T, ready <-chan struct{}, run func(context.Context) error) *part {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = run(ctx)
	}()
	t.Cleanup(func() { p.stop(t) })
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-ready:
	case <-p.ended:
		t.Fatal("ended before it was ready:", p.err)
	case <-limit.C:
		t.Fatal("not ready")
	}
	return p
}

func (p *part) stop(t *testing.T) {
	p.once.Do(func() {
		p.cancel()
		<-p.ended
		if p.err != nil {
			t.Error("ended with:", p.err)
		}
	})
}

// blocks gives each test loopback addresses of its own.
var blocks atomic.Int64

// options are those of a fleet of the test's own.
func options(t *testing.T, nodes int) dev.Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "fd") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // workers of nginx are not root
		t.Fatal(err)
	}
	return dev.Options{Data: filepath.Join(dir, "d"), Nodes: nodes, NATS: "127.0.0.1:0", Version: "test",
		FirstAddress: fmt.Sprintf("127.%d.%d.1", 64+os.Getpid()%64, blocks.Add(1)),
		NudgeAfter:   time.Second, Storage: subjects.Settings{LogsBytes: 1 << 28}}
}

// rig is a fleet whose parts a test starts and stops one by one.
type rig struct {
	*dev.Dev
	t      *testing.T
	client *client.Client
	nodes  []dev.Node
	labels []map[string]string
}

// newRig runs a broker and registers nodes; it starts no station and no agent.
func newRig(t *testing.T, nodes int) *rig {
	t.Helper()
	return rigOf(t, options(t, nodes))
}

func rigOf(t *testing.T, o dev.Options) *rig {
	t.Helper()
	d, err := dev.New(o)
	if err != nil {
		t.Fatal(err)
	}
	begin(t, d.Broker().Ready(), d.Broker().Run)
	r := &rig{Dev: d, t: t}
	if r.nodes, err = d.Nodes(); err != nil {
		t.Fatal(err)
	}
	return r
}

// station runs a station; any number may run.
func (r *rig) station() *part {
	r.t.Helper()
	st, err := r.Station()
	if err != nil {
		r.t.Fatal(err)
	}
	p := begin(r.t, st.Ready(), st.Run)
	if r.client == nil {
		r.connect()
	}
	return p
}

// connect makes the client, once the streams are there, and registers the nodes.
// trust is the signed trust set that dev gives its parts.
func (r *rig) trust() message.Message {
	r.t.Helper()
	cfg, err := r.AgentConfig(r.nodes[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return cfg.Trust
}

func (r *rig) connect() {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	var err error
	if r.client, err = r.Client(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.client.Close)
	for i := range r.nodes {
		r.label(i, map[string]string{"index": fmt.Sprint(i + 1)})
	}
}

// label registers a node with labels.
func (r *rig) label(i int, labels map[string]string) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	n := r.nodes[i]
	cfg, err := r.AgentConfig(n)
	if err != nil {
		r.t.Fatal(err)
	}
	record := station.NodeRecord{Name: n.Name, Key: cfg.Credentials.PublicKey(), Address: n.Address, Labels: labels, Since: time.Now()}
	if err := r.client.Register(ctx, record); err != nil {
		r.t.Fatal(err)
	}
}

// agent runs a node's agent. Its nginx goes on when the agent is stopped, and
// ends with the test.
func (r *rig) agent(i int) *part {
	r.t.Helper()
	return r.agentWith(i, func(*agent.Config) {})
}

func (r *rig) agentWith(i int, change func(*agent.Config)) *part {
	r.t.Helper()
	cfg, err := r.AgentConfig(r.nodes[i])
	if err != nil {
		r.t.Fatal(err)
	}
	change(&cfg)
	a, err := agent.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Engine().Stop(ctx); err != nil {
			r.t.Error("nginx:", err)
		}
	})
	return begin(r.t, a.Ready(), a.Run)
}

// set reads resources from text.
func set(t *testing.T, text string) manifest.Set {
	t.Helper()
	s, err := manifest.Read(t.Name(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// site is a virtual host that answers a text everywhere.
func site(name, selector string, port int, text string) string {
	if selector != "" {
		selector = fmt.Sprintf(", selector: %q", selector)
	}
	return fmt.Sprintf("{apiVersion: fairlead/v1, kind: VirtualHost, metadata: {name: %s}, spec: {listen: [{port: %d}], serverNames: [_], "+
		"locations: [{path: /, return: {code: 200, text: %q}}]%s}}\n", name, port, text, selector)
}

// apply carries out what a set would change and returns what told the nodes.
func apply(t *testing.T, c *client.Client, s manifest.Set, remove bool) []client.Sent {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	plan, err := c.Plan(ctx, s, remove)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := c.Apply(ctx, plan)
	if err != nil {
		t.Fatal(err)
	}
	sent, unfit, err := c.Told(ctx, applied)
	if err != nil || len(unfit) > 0 {
		t.Fatal(unfit, err)
	}
	return sent
}

// outcomes waits for the end of commands.
func outcomes(t *testing.T, c *client.Client, sent []client.Sent) []client.Outcome {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	w, err := c.Listen(ctx, "*")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.Wait(ctx, sent, nil)
}

// succeeds applies resources and waits until all nodes serve them.
func succeeds(t *testing.T, c *client.Client, s manifest.Set, remove bool) []client.Outcome {
	t.Helper()
	all := outcomes(t, c, apply(t, c, s, remove))
	for _, o := range all {
		if o.State != message.Succeeded {
			t.Errorf("%s ended %s: %s", o.Node, o.State, o.Answer.Message)
		}
	}
	return all
}

// get fetches / and returns status and body; 0 where nobody listens.
func get(address string, port int) (int, string) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Get("http://" + net.JoinHostPort(address, fmt.Sprint(port)) + "/")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func serves(t *testing.T, address string, port int, want string) {
	t.Helper()
	if code, body := get(address, port); code != 200 || body != want {
		t.Errorf("%s:%d answers %d %q, not %q", address, port, code, body, want)
	}
}

func node(t *testing.T, c *client.Client, name string) station.NodeDetail {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	d, err := c.Node(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// inSync waits until a node serves the newest desired revision, by the station.
func inSync(t *testing.T, c *client.Client, name string) (d station.NodeDetail) {
	t.Helper()
	eventually(t, name+" is in sync", func() bool {
		d = node(t, c, name)
		return d.Sync == station.InSync && d.Waiting == 0
	})
	return d
}

// audited is what the audit has of a node: its commands, and the final answers
// to each.
func audited(t *testing.T, c *client.Client, name string) (commands []message.Message, ends map[string][]message.Message) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	ends = make(map[string][]message.Message)
	if err := c.Audit(ctx, client.AuditOptions{Node: name}, func(r client.Record) error {
		switch m := r.Message; {
		case m.Subject.Direction == subjects.Command:
			commands = append(commands, m)
		case m.State.Final():
			ends[m.Command] = append(ends[m.Command], m)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return commands, ends
}

// endedOnce holds that every command of a node has one final answer.
func endedOnce(t *testing.T, c *client.Client, name string) []message.Message {
	t.Helper()
	var commands []message.Message
	var ends map[string][]message.Message
	eventually(t, "every command to "+name+" has its end in the audit", func() bool {
		commands, ends = audited(t, c, name)
		for _, m := range commands {
			if len(ends[m.ID]) == 0 {
				return false
			}
		}
		return true
	})
	seen := make(map[string]bool)
	for _, m := range commands {
		if seen[m.ID] {
			t.Errorf("%s is in the audit twice", m.ID)
		}
		seen[m.ID] = true
		if n := len(ends[m.ID]); n != 1 {
			t.Errorf("%s has %d final answers", m.ID, n)
		}
	}
	return commands
}

// creds are a user's, for what a client of that user would not do.
func (r *rig) creds(name string) *identity.Credentials {
	r.t.Helper()
	c, err := identity.LoadCreds(filepath.Join(r.Data(), "identity", "tenants", "main", "users", name+".creds"))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func kindIs(t *testing.T, err error, kind fleet.Kind) {
	t.Helper()
	if fleet.KindOf(err) != kind {
		t.Errorf("the kind is %q: %v", fleet.KindOf(err), err)
	}
}
