package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/agent"
	"fairlead/pkg/broker"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// patience is how long anything may take that must happen. It is long because
// it is only ever waited for when a test fails.
const patience = 60 * time.Second

func patient(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), patience)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	if wait(ctx, holds) != nil {
		t.Fatalf("waited in vain for this: %s", what)
	}
}

// The users of every fleet. Mallory has a place at the broker and nobody's trust.
var users = map[string]subjects.Role{
	"admin": subjects.Admin, "station": subjects.Station, "olga": subjects.Operator, "vera": subjects.Viewer,
}

// system is a fleet without nodes: identities, a broker, a client, and mostly
// a station. Tests add agents.
type system struct {
	dir       string
	url       string
	authority *identity.Authority
	client    *client.Client
	raw       *nats.Conn // the administrator's, without Fairlead's manners
}

// shared is a fleet for all tests that break nothing but their own node.
var shared = struct {
	sync.Mutex
	*system
	close []func()
}{}

func sharedSystem(t *testing.T) *system {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.system != nil {
		return shared.system
	}
	cleanup := func(f func()) { shared.close = append(shared.close, f) }
	s := newSystem(t, cleanup)
	s.brokerHere(t, cleanup)
	s.stationHere(t, cleanup, nil)
	s.connect(t, cleanup)
	shared.system = s
	return s
}

func closeShared() {
	for i := len(shared.close) - 1; i >= 0; i-- {
		shared.close[i]()
	}
}

// ownSystem is a fleet of the test's own, without broker and station.
func ownSystem(t *testing.T) *system {
	t.Helper()
	return newSystem(t, t.Cleanup)
}

func newSystem(t *testing.T, cleanup func(func())) *system {
	t.Helper()
	dir, err := os.MkdirTemp("", "fl")
	if err != nil {
		t.Fatal(err)
	}
	cleanup(func() { _ = os.RemoveAll(dir) })
	s := &system{dir: dir}
	if s.authority, err = openAuthority(dir); err != nil {
		t.Fatal(err)
	}
	for name, role := range users {
		if _, err := s.authority.User(name, role); err != nil {
			t.Fatal(err)
		}
	}
	trust, err := s.authority.TrustSet()
	if err == nil {
		var data []byte
		if data, err = message.EncodeTrust(trust); err == nil {
			err = os.WriteFile(filepath.Join(dir, "trust.json"), data, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.authority.User("mallory", subjects.Operator); err != nil {
		t.Fatal(err)
	}
	return s
}

func credsOf(dir, name string) (*identity.Credentials, error) {
	return identity.LoadCreds(filepath.Join(dir, "identity", "tenants", "main", "users", name+".creds"))
}

func (s *system) creds(t *testing.T, name string) *identity.Credentials {
	t.Helper()
	c, err := credsOf(s.dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func trustOf(dir string) (message.Message, error) {
	return identity.LoadTrust(filepath.Join(dir, "trust.json"))
}

// brokerHere runs the broker in this process.
func (s *system) brokerHere(t *testing.T, cleanup func(func())) {
	t.Helper()
	b, err := broker.New(broker.Config{StoreDir: filepath.Join(s.dir, "broker"), Sync: "2m", Drain: -1, Plain: true,
		Server: s.authority.Server(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, cleanup, b.Ready(), b.Run)
	s.url = b.URL()
}

// freePort is a port that nobody listens on at this moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func stationConfig(dir, url string) (station.Config, error) {
	creds, err := credsOf(dir, "station")
	if err != nil {
		return station.Config{}, err
	}
	trust, err := trustOf(dir)
	return station.Config{URL: url, Credentials: creds, Trust: trust, Storage: subjects.Settings{LogsBytes: 1 << 30},
		SweepEvery: 100 * time.Millisecond, NudgeAfter: time.Second, CheckpointEvery: 100 * time.Millisecond}, err
}

// stationHere runs a station in this process; the returned func ends it.
func (s *system) stationHere(t *testing.T, cleanup func(func()), change func(*station.Config)) (stop func()) {
	t.Helper()
	cfg, err := stationConfig(s.dir, s.url)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	st, err := station.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return runs(t, cleanup, st.Ready(), st.Run)
}

// runs starts a part and waits until it is ready. What it returns, and the
// cleanup, end the part and wait for it.
func runs(t *testing.T, cleanup func(func()), ready <-chan struct{}, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-ended
		})
	}
	cleanup(stop)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal("ended before it was ready:", err)
	case <-limit.C:
		t.Fatal("not ready")
	}
	return stop
}

func (s *system) connect(t *testing.T, cleanup func(func())) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	var err error
	if s.client, err = client.Open(ctx, client.Options{URL: s.url, Credentials: s.creds(t, "admin")}); err != nil {
		t.Fatal(err)
	}
	cleanup(s.client.Close)
	if s.raw, err = nats.Connect(s.url, nats.UserCredentials(s.creds(t, "admin").File), nats.CustomInboxPrefix(subjects.Inbox("admin"))); err != nil {
		t.Fatal(err)
	}
	cleanup(s.raw.Close)
}

// node is a registered node of a fleet.
type node struct {
	*system
	effects
	name  string
	state string
	// misnamed are ids of messages that are stored under another one: answers
	// name them by their sequence.
	misnamed map[string]bool
}

var nodes atomic.Int64

// newNode registers a node; its agent does not run yet.
func (s *system) newNode(t *testing.T) *node {
	t.Helper()
	name := fmt.Sprintf("ship%d", nodes.Add(1))
	user, err := s.authority.User(name, subjects.Node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := patient(t)
	defer cancel()
	if err := s.client.Register(ctx, station.NodeRecord{Name: name, Key: user.Key, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(s.dir, name)
	return &node{system: s, effects: effectsOf(state), name: name, state: state}
}

func agentConfig(dir, url, name, state string) (agent.Config, error) {
	creds, err := credsOf(dir, name)
	if err != nil {
		return agent.Config{}, err
	}
	trust, err := trustOf(dir)
	return agent.Config{Name: name, Version: "test", URL: url, Credentials: creds, Trust: trust, State: state,
		PushDirs: []string{pushedDir(state)}, HealthEvery: -1, Grace: time.Second}, err
}

// start runs the node's agent in this process; change may be nil.
func (n *node) start(t *testing.T, change func(*agent.Config)) (stop func()) {
	t.Helper()
	_, stop = n.run(t, change)
	return stop
}

func (n *node) run(t *testing.T, change func(*agent.Config)) (a *agent.Agent, stop func()) {
	t.Helper()
	cfg, err := agentConfig(n.dir(), n.url, n.name, n.state)
	if err != nil {
		t.Fatal(err)
	}
	cfg.NoSync = true
	cfg.Registry = registry(n.effects, nil)
	if change != nil {
		change(&cfg)
	}
	if a, err = agent.New(cfg); err != nil {
		t.Fatal(err)
	}
	return a, runs(t, t.Cleanup, a.Ready(), a.Run)
}

func (n *node) dir() string { return n.system.dir }

// spawn runs the node's agent in a process of its own.
func (n *node) spawn(t *testing.T, killAt string) *process {
	t.Helper()
	return spawn(t, child{Part: "agent", Dir: n.dir(), URL: n.url, Node: n.name, State: n.state, KillAt: killAt})
}

func (n *node) subject(method, domain string) subjects.Subject {
	return subjects.Subject{Node: n.name, Direction: subjects.Command, Method: method, Domain: domain}
}

// command is a command to the node; gate is where it waits, "" for nowhere.
func (n *node) command(method, domain, gate string) client.Command {
	var body []byte
	if gate != "" {
		body, _ = json.Marshal(workBody{Gate: gate})
	}
	return client.Command{Subject: n.subject(method, domain), Body: body}
}

// send stores commands and returns their ids.
func (n *node) send(t *testing.T, commands ...client.Command) []string {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	sent, err := n.client.Send(ctx, commands...)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(sent))
	for i, s := range sent {
		ids[i] = s.ID
	}
	return ids
}

// do sends one command and returns its id and its end.
func (n *node) do(t *testing.T, command client.Command) (id string, end ending) {
	t.Helper()
	id = n.send(t, command)[0]
	return id, n.end(t, id)
}

// ending is a command's final answer.
type ending struct {
	message.Answer
	State message.State
	From  string
}

// end waits for the final answer to a command in the audit.
func (n *node) end(t *testing.T, id string) ending {
	t.Helper()
	return n.ends(t, id)[0]
}

// ends waits for the final answers to commands in the audit.
func (n *node) ends(t *testing.T, ids ...string) []ending {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	found := make(map[string]ending)
	missing := make(map[string]bool)
	for _, id := range ids {
		missing[id] = true
	}
	err := n.client.Audit(ctx, client.AuditOptions{Node: n.name, Follow: true}, func(r client.Record) error {
		if id := r.Message.Command; missing[id] && r.Message.State.Final() {
			answer, err := r.Message.ReadAnswer()
			if err != nil {
				return err
			}
			found[id] = ending{answer, r.Message.State, r.Message.From}
			delete(missing, id)
		}
		if len(missing) == 0 {
			return errSeen
		}
		return nil
	})
	if err != errSeen {
		t.Fatalf("%s: %d of %d commands have no end: %v", n.name, len(missing), len(ids), err)
	}
	all := make([]ending, len(ids))
	for i, id := range ids {
		all[i] = found[id]
	}
	return all
}

var errSeen = fleet.Errorf(fleet.Internal, "seen")

// wellAfter holds the node to what must be true whatever happened before: a
// command sent now works, and every command in the audit has one final answer
// with nothing but a late note behind it. It returns the final answers.
func (n *node) wellAfter(t *testing.T) map[string]ending {
	t.Helper()
	// The outbox keeps its order, so what was still to be said is said before this.
	id, end := n.do(t, n.command(work, "fence", ""))
	if end.State != message.Succeeded || n.count(t, id) != 1 {
		t.Errorf("a command sent after it ended %s and ran %d times: %s", end.State, n.count(t, id), end.Message)
	}
	var all []string
	for _, r := range n.audit(t) {
		if m := r.Message; m.Subject.Direction == subjects.Command && !n.misnamed[m.ID] {
			all = append(all, m.ID)
		}
	}
	n.ends(t, all...) // each has one
	ended := make(map[string]ending)
	for _, r := range n.audit(t) {
		m := r.Message
		if m.Subject.Method != subjects.MethodAck {
			continue
		}
		if !r.Proven {
			t.Errorf("answer %s is not signed", m.ID)
		}
		before, over := ended[m.Command]
		switch {
		case m.State.Final() && over:
			t.Errorf("command %s ended %s and then %s", m.Command, before.State, m.State)
		case m.State.Final():
			answer, err := m.ReadAnswer()
			if err != nil {
				t.Error(err)
			}
			ended[m.Command] = ending{answer, m.State, m.From}
		case over && m.State != message.Late:
			t.Errorf("command %s ended %s and is then told to be %s", m.Command, before.State, m.State)
		}
	}
	return ended
}

// cleared waits until the station has cleared a command from the mailbox.
func (n *node) cleared(t *testing.T, m message.Message) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	eventually(t, m.ID+" has left the mailbox", func() bool {
		stored, err := n.client.Conn().Last(ctx, subjects.Commands, m.StoredSubject())
		if err != nil {
			t.Fatal(err)
		}
		return stored == nil
	})
}

// audit is what the audit holds of the node now.
func (n *node) audit(t *testing.T) (all []client.Record) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	if err := n.client.Audit(ctx, client.AuditOptions{Node: n.name}, func(r client.Record) error {
		all = append(all, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// lifecycle are the node's lifecycle events in the audit so far.
func (n *node) lifecycle(t *testing.T) (all []message.Lifecycle) {
	t.Helper()
	for _, r := range n.audit(t) {
		if r.Message.Subject.Method == subjects.MethodLifecycle {
			var l message.Lifecycle
			if err := json.Unmarshal(r.Message.Body, &l); err != nil {
				t.Fatal(err)
			}
			all = append(all, l)
		}
	}
	return all
}

// publish stores a message as it is and returns its sequence.
func (s *system) publish(t *testing.T, m *nats.Msg) uint64 {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	reply, err := s.raw.RequestMsgWithContext(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	var ack struct {
		Seq   uint64          `json:"seq"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil || ack.Error != nil {
		t.Fatalf("not stored: %s", reply.Data)
	}
	return ack.Seq
}
