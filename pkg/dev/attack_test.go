package dev_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// The attack suite. Each file has one attacker: what they hold, what they try,
// who refuses it, that it had no effect, and that who may do the same can. It
// runs against the real thing: broker with TLS, station, agents.

// refuser is the part that refuses.
type refuser string

const (
	byBroker  refuser = "broker"
	byAgent   refuser = "agent"
	byStation refuser = "station"
	byClient  refuser = "client"
)

// realm is a fleet under attack: nodes node1 and node2 run, node3 is registered
// and away, so that its credentials are an attacker's to use. Nodes have no
// nginx; what a command did is a file that `touch` made.
//
// Users beside dev's own: olga, an operator; vera, a viewer; lina, an operator
// for node1 and healthreport alone.
type realm struct {
	*rig
	authority *identity.Authority
	heard     *heard
	answers   *client.Waiter
	agents    []*part
	keepers   []func() *message.TrustKeeper // of station and agents that run
	strangers map[string]bus.Credentials    // that an attacker put together, by a name for the test
	through   string                        // where agents that begin find the broker, "" for itself
	tries     int
}

const (
	node1, node2, node3 = "node1", "node2", "node3"
	system              = "operatingsystem"
)

func newRealm(t *testing.T) *realm {
	t.Helper()
	o := options(t, 3)
	r := &realm{heard: &heard{}, strangers: make(map[string]bus.Credentials)}
	o.Logger = slog.New(slog.NewTextHandler(r.heard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.HealthEvery = -1
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the last that was logged:\n" + strings.Join(r.heard.last(40), ""))
		}
	})
	touch, err := exec.LookPath("touch")
	if err != nil {
		t.Fatal(err)
	}
	o.Programs = []string{touch}
	// Before the broker reads the account, which has a limited user's permissions.
	r.authority = r.open(t, filepath.Join(o.Data, "identity"))
	if _, err := r.authority.Create(identity.New{Name: "lina", Role: subjects.Operator,
		Limits: subjects.Limits{Nodes: []string{node1}, Methods: []string{subjects.MethodHealth}}}); err != nil {
		t.Fatal(err)
	}
	r.rig = rigOf(t, o)
	for name, role := range map[string]subjects.Role{"olga": subjects.Operator, "vera": subjects.Viewer} {
		r.user(name, role)
	}
	st, err := r.Station()
	if err != nil {
		t.Fatal(err)
	}
	begin(t, st.Ready(), st.Run)
	r.keepers = append(r.keepers, st.Trust)
	r.connect()
	for i := range 2 {
		r.agents = append(r.agents, r.bare(i))
	}
	ctx, cancel := patient(t)
	defer cancel()
	if r.answers, err = r.client.Listen(ctx, "*"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.answers.Close)
	return r
}

func (r *realm) open(t *testing.T, dir string) *identity.Authority {
	t.Helper()
	a, err := identity.Open(dir, identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bare runs a node's agent without nginx.
func (r *realm) bare(i int) *part {
	r.t.Helper()
	cfg, err := r.AgentConfig(r.nodes[i])
	if err != nil {
		r.t.Fatal(err)
	}
	return r.bareWith(i, cfg.Trust)
}

// bareWith gives the agent a trust set to begin with.
func (r *realm) bareWith(i int, trust message.Message) *part {
	r.t.Helper()
	cfg, err := r.AgentConfig(r.nodes[i])
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.Nginx, cfg.Syslog, cfg.Trust = nil, nil, trust
	if r.through != "" {
		cfg.URL = r.through
	}
	a, err := agent.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	p := begin(r.t, a.Ready(), a.Run)
	r.keepers = append(r.keepers, a.Trust)
	return p
}

// user makes or loads a user's credentials.
func (r *realm) user(name string, role subjects.Role) *identity.Credentials {
	r.t.Helper()
	u, err := r.authority.User(name, role)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// holder is somebody by name: a node or a user.
func (r *realm) holder(name string) bus.Credentials {
	r.t.Helper()
	if c, there := r.strangers[name]; there {
		return c
	}
	for _, n := range r.nodes {
		if n.Name == name {
			cfg, err := r.AgentConfig(n)
			if err != nil {
				r.t.Fatal(err)
			}
			return cfg.Credentials
		}
	}
	return r.creds(name)
}

// plug connects as somebody, with nothing between the test and the broker.
func (r *realm) plug(c bus.Credentials) (*nats.Conn, error) {
	r.t.Helper()
	return nats.Connect(r.URL(), nats.RootCAs(r.TLS().CA), nats.TLSHandshakeFirst(), nats.NoReconnect(),
		nats.CustomInboxPrefix(c.Inbox()), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.UserJWT(func() (string, error) { return c.UserJWT(), nil }, c.Sign))
}

// raw is plug by name.
func (r *realm) raw(name string) *nats.Conn {
	r.t.Helper()
	nc, err := r.plug(r.holder(name))
	if err != nil {
		r.t.Fatalf("connect as %s: %v", name, err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// do is what the broker says to something that is done as somebody: "" where it
// lets it pass.
func (r *realm) do(name string, something func(*nats.Conn) error) (said string) {
	r.t.Helper()
	nc := r.raw(name)
	defer nc.Close()
	if err := errors.Join(something(nc), nc.Flush()); err != nil {
		r.t.Fatalf("as %s: %v", name, err)
	}
	if err := nc.LastError(); err != nil { // stands before the answer to the flush
		return err.Error()
	}
	return ""
}

// marker is in everything that an attacker publishes, and harmless in what is
// published beside it for comparison.
const (
	marker   = "attack-7e1c"
	harmless = "control-7e1c"
)

func (r *realm) publish(name, subject, text string) (said string) {
	r.t.Helper()
	return r.do(name, func(nc *nats.Conn) error { return nc.Publish(subject, []byte(text)) })
}

func (r *realm) subscribe(name, subject string) (said string) {
	r.t.Helper()
	return r.do(name, func(nc *nats.Conn) error {
		_, err := nc.SubscribeSync(subject)
		return err
	})
}

// streams are all that the broker stores, asked as the administrator.
func (r *realm) streams() map[string]*jetstream.StreamInfo {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	js, err := jetstream.New(r.raw(theAdmin))
	if err != nil {
		r.t.Fatal(err)
	}
	all := make(map[string]*jetstream.StreamInfo)
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		all[info.Config.Name] = info
	}
	if err := list.Err(); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// shape is what no attack may change: which streams there are, how they are
// configured, and how much was taken out, but for the mailbox, which is cleared.
func (r *realm) shape() string {
	r.t.Helper()
	var lines []string
	for name, info := range r.streams() {
		config, err := json.Marshal(info.Config)
		if err != nil {
			r.t.Fatal(err)
		}
		gone := info.State.LastSeq - info.State.Msgs
		if name == subjects.Commands {
			gone = 0
		}
		lines = append(lines, fmt.Sprintf("%s, %d gone: %s", name, gone, config))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// stored is where the broker stores something that holds a text.
func (r *realm) stored(text string) (where []string) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	js, err := jetstream.New(r.raw(theAdmin))
	if err != nil {
		r.t.Fatal(err)
	}
	for name, info := range r.streams() {
		s, err := js.Stream(ctx, name)
		if err != nil {
			r.t.Fatal(err)
		}
		for i := info.State.FirstSeq; i <= info.State.LastSeq && i > 0; i++ {
			m, err := s.GetMsg(ctx, i)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				r.t.Fatal(err)
			}
			if bytes.Contains(m.Data, []byte(text)) {
				where = append(where, m.Subject)
			}
		}
	}
	return where
}

// theAdmin is dev's own administrator.
const theAdmin = "admin"

// touching is a command that makes a file where it runs.
func (r *realm) touching(node string) (m message.Message, file string) {
	r.t.Helper()
	r.tries++
	file = filepath.Join(r.Data(), fmt.Sprintf("touched-%d", r.tries))
	body, err := json.Marshal(handlers.ShellCommandBody{Argv: []string{"touch", file}})
	if err != nil {
		r.t.Fatal(err)
	}
	return command(node, "shellcommand", body), file
}

func command(node, method string, body []byte) message.Message {
	return message.Message{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: method, Domain: system},
		ID: message.NewID(), Expires: time.Now().Add(time.Hour), Body: body}
}

func (r *realm) sign(m message.Message, name string) message.Message {
	r.t.Helper()
	return r.signAs(m, name, r.holder(name))
}

func (r *realm) signAs(m message.Message, name string, c message.Signer) message.Message {
	r.t.Helper()
	m.From = name
	if err := m.Sign(c); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func encoded(m message.Message) *nats.Msg {
	return &nats.Msg{Subject: m.StoredSubject(), Header: m.Headers(), Data: m.Body}
}

// store has a message stored by somebody's connection; it fails where the
// broker does not take it.
func (r *realm) store(name string, m *nats.Msg) (sequence uint64) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	js, err := jetstream.New(r.raw(name))
	if err != nil {
		r.t.Fatal(err)
	}
	ack, err := js.PublishMsg(ctx, m)
	if err != nil {
		r.t.Fatalf("%s stores %s: %v", name, m.Subject, err)
	}
	return ack.Sequence
}

// end waits for the final answer to a command, whoever sent it.
func (r *realm) end(m message.Message) client.Outcome {
	r.t.Helper()
	return r.ending(m.ID, m.Subject)
}

func (r *realm) ending(id string, s subjects.Subject) client.Outcome {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	return r.answers.Wait(ctx, []client.Sent{{ID: id, Subject: s.String(), Node: s.Node}}, nil)[0]
}

// runs is the control of all attacks by commands: the administrator's own is run.
func (r *realm) runs(node string) {
	r.t.Helper()
	m, file := r.touching(node)
	m = r.sign(m, theAdmin)
	r.store(theAdmin, encoded(m))
	if o := r.end(m); o.State != message.Succeeded || !there(file) {
		r.t.Fatalf("the administrator's own command ended %s: %s", o.State, o.Answer.Message)
	}
}

func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// attempt is an attack with who refuses it and in which words.
type attempt struct {
	what    string
	by      refuser
	says    string
	try     func() (refuser, string) // who refused it, and what was said
	effect  func() string            // what it did; "" for nothing
	control func()                   // the same by who may, which works
}

func (r *realm) attempts(t *testing.T, all []attempt) {
	for _, a := range all {
		t.Run(a.what, func(t *testing.T) {
			by, said := a.try()
			if by != a.by || !strings.Contains(said, a.says) {
				t.Errorf("%q refused it: %q; want %q: %q", by, said, a.by, a.says)
			}
			if a.effect != nil {
				if did := a.effect(); did != "" {
					t.Error("it had an effect:", did)
				}
			}
			if a.control != nil {
				a.control()
			}
		})
	}
}

// rejected is the agent's final answer to a command, where it is a refusal.
func (r *realm) rejected(id string, s subjects.Subject) (refuser, string) {
	r.t.Helper()
	o := r.ending(id, s)
	if o.State != message.Rejected || o.From != s.Node {
		return "", fmt.Sprintf("%s by %s: %s", o.State, o.From, o.Answer.Message)
	}
	return byAgent, o.Answer.Message
}

// complains waits until a part logs a line with a text behind a place in the log.
func (r *realm) complains(behind int, part refuser, text string) (refuser, string) {
	r.t.Helper()
	r.heard.says(r.t, behind, part, text)
	return part, r.heard.lines(behind, text, "part="+string(part))[0]
}

func untouched(file string) func() string {
	return func() string {
		if there(file) {
			return "the command ran"
		}
		return ""
	}
}

// heard is the log of all parts.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Len()
}

// lines are those behind a place that hold all texts.
func (h *heard) lines(behind int, texts ...string) (found []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(string(h.text.Bytes()[behind:])) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			found = append(found, line)
		}
	}
	return found
}

func (h *heard) last(n int) []string {
	all := h.lines(0)
	return all[max(0, len(all)-n):]
}

// says waits until a part logs, behind a place, a line with all texts.
func (h *heard) says(t *testing.T, behind int, part refuser, texts ...string) {
	t.Helper()
	texts = append(texts, "part="+string(part))
	eventually(t, fmt.Sprintf("the log has %q", texts), func() bool { return len(h.lines(behind, texts...)) > 0 })
}
