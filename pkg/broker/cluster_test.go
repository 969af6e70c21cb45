package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
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
	"fairlead/pkg/broker"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// freeAddress is one that nobody listens on at this moment.
func freeAddress(t testing.TB) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr)
}

// startCluster runs three brokers, each with its own copy of one identity
// directory.
func startCluster(t testing.TB, sync string) []*site {
	t.Helper()
	origin := t.TempDir()
	authority(t, origin, identity.Options{Methods: nothing(nil).Sent()})
	var routes []string
	for range 3 {
		routes = append(routes, freeAddress(t).String())
	}
	var sites []*site
	for i, listen := range routes {
		dir := filepath.Join(t.TempDir(), "identity")
		if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
			t.Fatal(err)
		}
		a := authority(t, dir, identity.Options{Methods: nothing(nil).Sent()})
		sites = append(sites, startOf(t, a, func(c *broker.Config) {
			c.Name, c.Port, c.Sync = fmt.Sprint("broker", i+1), freeAddress(t).Port, sync
			c.Cluster = &broker.ClusterConfig{Listen: listen, Routes: routes}
		}))
		sites[i].dir = dir
	}
	elected(t, sites)
	return sites
}

// elected waits until the brokers agree who leads them: until then questions
// about streams are not answered.
func elected(t testing.TB, sites []*site) {
	t.Helper()
	nc, err := nats.Connect(urls(sites), secure(sites[0].Authority), nats.UserCredentials(user(t, sites[0].Authority, "admin", subjects.Admin).CredsFile),
		nats.CustomInboxPrefix(subjects.Inbox("admin")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err := js.AccountInfo(ctx)
		return err
	})
}

// urls are the addresses of all brokers, as stations and agents are given them.
func urls(sites []*site) string {
	var all []string
	for _, s := range sites {
		all = append(all, s.URL())
	}
	return strings.Join(all, ",")
}

// eventually tries until f returns nil.
func eventually(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		actx, acancel := context.WithTimeout(ctx, patience/4)
		err := f(actx)
		acancel()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// runs runs a part of the fleet until the test ends, and waits for it.
func runs(t testing.TB, ready <-chan struct{}, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("a part of the fleet is not ready")
	}
}

// tally counts how often each command ran.
type tally struct {
	mu   sync.Mutex
	runs map[string]int
}

func (c *tally) add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[id]++
}

// nothing is a registry whose one handler counts.
func nothing(count func(id string)) handlers.Registry {
	return handlers.New(handlers.Of(handlers.Definition[struct{}]{
		Method: "nothing", Summary: "do nothing", Role: subjects.Operator, Domain: "test",
		Handle: func(_ context.Context, _ *handlers.Node, c handlers.Command[struct{}]) (handlers.Result, error) {
			count(c.ID)
			return handlers.Result{}, nil
		},
	}))
}

// clustered is a fleet on a cluster.
type clustered struct {
	sites  []*site
	client *client.Client
	js     jetstream.JetStream
	waiter *client.Waiter
	tally  tally
}

// fleetOn runs a station with three replicas and two agents on a cluster.
func fleetOn(t *testing.T, sites []*site) *clustered {
	t.Helper()
	return fleetThrough(t, sites, 3, urls(sites))
}

// fleetThrough does so with agents that connect to brokers of their own.
func fleetThrough(t *testing.T, sites []*site, replicas int, agents string) *clustered {
	t.Helper()
	f := &clustered{sites: sites, tally: tally{runs: make(map[string]int)}}
	a := sites[0].Authority
	creds := func(name string, role subjects.Role) *identity.Credentials {
		c, err := identity.LoadCreds(user(t, a, name, role).CredsFile)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	admin, stationCreds := creds("admin", subjects.Admin), creds("station", subjects.Station)
	trust, err := a.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	st, err := station.New(station.Config{URL: urls(sites), TLS: trusts(sites[0].Authority), Credentials: stationCreds, Trust: trust,
		Storage: subjects.Settings{Replicas: replicas, LogsBytes: 1 << 30}, NudgeAfter: time.Second, CheckpointEvery: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, st.Ready(), st.Run)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if f.client, err = client.Open(ctx, client.Options{URL: urls(sites), TLS: trusts(sites[0].Authority), Credentials: admin}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	for _, name := range []string{"ship1", "ship2"} {
		c := creds(name, subjects.Node)
		if err := f.client.Register(ctx, station.NodeRecord{Name: name, Key: c.Key}); err != nil {
			t.Fatal(err)
		}
		ag, err := agent.New(agent.Config{Name: name, URL: agents, TLS: trusts(sites[0].Authority), Credentials: c, Trust: trust, State: t.TempDir(),
			Registry: nothing(f.tally.add), HealthEvery: -1, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		runs(t, ag.Ready(), ag.Run)
	}
	nc, err := nats.Connect(urls(sites), secure(sites[0].Authority), nats.UserCredentials(admin.File), nats.CustomInboxPrefix(subjects.Inbox(admin.Name)), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if f.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if f.waiter, err = f.client.Listen(ctx, "*"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.waiter.Close)
	return f
}

// send sends so many commands, one after the other, and calls half halfway.
// It returns those that were acknowledged; the others are tried again as new
// ones, as a person would.
func (f *clustered) send(t *testing.T, count int, half func()) []client.Sent {
	t.Helper()
	var all []client.Sent
	refused := 0
	eventually(t, func(ctx context.Context) error {
		for len(all) < count {
			if half != nil && len(all) == count/2 {
				half()
				half = nil
			}
			sent, err := f.client.Send(ctx, client.Command{Subject: subjects.Subject{
				Node: fmt.Sprint("ship", 1+len(all)%2), Direction: subjects.Command, Method: "nothing", Domain: "test"}})
			if err != nil {
				refused++
				return err
			}
			all = append(all, sent...)
		}
		return nil
	})
	t.Logf("%d stored, %d attempts refused", len(all), refused)
	return all
}

// succeed waits for the commands' ends. An agent whose question for its
// mailbox is lost in an election asks again after half a minute.
func (f *clustered) succeed(t *testing.T, sent []client.Sent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	for _, o := range f.waiter.Wait(ctx, sent, nil) {
		if o.State != message.Succeeded {
			t.Errorf("%s is %s: %s", o.ID, o.State, o.Answer.Message)
		}
	}
}

// endedOnce reads the audit, until it has all of them: each command ran once
// and has one final answer.
func (f *clustered) endedOnce(t *testing.T, sent []client.Sent) {
	t.Helper()
	ends := make(map[string]int)
	eventually(t, func(ctx context.Context) error {
		clear(ends)
		err := f.client.Audit(ctx, client.AuditOptions{}, func(r client.Record) error {
			if r.Message.State.Final() {
				ends[r.Message.Command]++
			}
			return nil
		})
		if err == nil && len(ends) < len(sent) {
			err = fmt.Errorf("%d of %d ends are in the audit", len(ends), len(sent))
		}
		return err
	})
	f.tally.mu.Lock()
	defer f.tally.mu.Unlock()
	for _, s := range sent {
		if ends[s.ID] != 1 || f.tally.runs[s.ID] != 1 {
			t.Errorf("%s ran %d times and has %d ends", s.ID, f.tally.runs[s.ID], ends[s.ID])
		}
	}
	for id, n := range ends {
		if n != 1 || f.tally.runs[id] != 1 { // one whose acknowledgement was lost on the way
			t.Errorf("%s ran %d times and has %d ends", id, f.tally.runs[id], n)
		}
	}
}

// leader is the broker that leads the mailbox, by place.
func (f *clustered) leader(t *testing.T) (leads int) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		info, err := f.commands(ctx)
		if err == nil {
			leads = slices.IndexFunc(f.sites, func(s *site) bool { return s.config.Name == info.Cluster.Leader })
		}
		if err == nil && leads < 0 {
			err = errors.New("the mailbox has no leader")
		}
		return err
	})
	return leads
}

func (f *clustered) commands(ctx context.Context) (*jetstream.StreamInfo, error) {
	s, err := f.js.Stream(ctx, subjects.Commands)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// packs reports how a broker packs what it tells the others.
func (s *site) packs(t *testing.T) (modes []string) {
	t.Helper()
	u, err := s.SystemUser()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserJWT(func() (string, error) { return u.UserJWT(), nil }, u.Sign))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	reply, err := nc.Request("$SYS.REQ.SERVER.PING.ROUTEZ", nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Data struct {
			Routes []struct {
				Compression string `json:"compression"`
			} `json:"routes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(reply.Data, &said); err != nil {
		t.Fatal(err)
	}
	for _, r := range said.Data.Routes {
		modes = append(modes, r.Compression)
	}
	return modes
}

func TestAClusterGoesOnWithoutOneBrokerAndLosesNothing(t *testing.T) {
	f := fleetOn(t, startCluster(t, "2m"))
	// By the way that each route takes: "s2_uncompressed" within a host.
	if modes := f.sites[0].packs(t); len(modes) == 0 || slices.ContainsFunc(modes, func(m string) bool { return !strings.HasPrefix(m, "s2_") }) {
		t.Errorf("routes are packed as %q", modes)
	}
	gone := f.leader(t)
	sent := f.send(t, 200, f.sites[gone].stop)
	f.succeed(t, sent)
	f.endedOnce(t, sent)

	// It comes back and has everything again.
	c := f.sites[gone].config
	f.sites[gone] = startOf(t, f.sites[gone].Authority, func(again *broker.Config) { *again = c })
	eventually(t, func(ctx context.Context) error {
		info, err := f.commands(ctx)
		if err != nil {
			return err
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline || r.Lag > 0 {
				return fmt.Errorf("%s is not level: %+v", r.Name, r)
			}
		}
		if len(info.Cluster.Replicas) != 2 {
			return fmt.Errorf("%d replicas", len(info.Cluster.Replicas)+1)
		}
		return nil
	})
	more := f.send(t, 20, nil)
	f.succeed(t, more)
	f.endedOnce(t, append(sent, more...))

	// What was signed before is in its place, and what came since is signed too.
	eventually(t, func(ctx context.Context) error {
		v, err := f.client.VerifyAudit(ctx, client.VerifyOptions{})
		switch {
		case err != nil:
			return err
		case len(v.Faults) > 0 || v.Before > 0:
			t.Fatalf("%+v", v)
		case v.Uncovered > 0:
			return fmt.Errorf("%d messages are not signed yet", v.Uncovered)
		}
		return nil
	})
}

func TestABrokerOfAnotherOperatorDoesNotJoin(t *testing.T) {
	address := freeAddress(t).String()
	start(t, func(c *broker.Config) {
		c.Name, c.Cluster = "ours", &broker.ClusterConfig{Listen: address, Routes: []string{address}}
	})
	var log safeBuffer
	start(t, func(c *broker.Config) {
		c.Name, c.Cluster = "theirs", &broker.ClusterConfig{Listen: freeAddress(t).String(), Routes: []string{address}}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	eventually(t, func(context.Context) error {
		if !strings.Contains(log.String(), "TLS route handshake error") {
			return errors.New("it was not refused")
		}
		return nil
	})
}

func TestAStoreOfTheOtherKindIsRefused(t *testing.T) {
	lone := start(t, nil)
	lone.ensureStorage(t)
	lone.stop()
	c, address := lone.config, freeAddress(t).String()
	c.Name, c.Cluster = "alone", &broker.ClusterConfig{Listen: address, Routes: []string{address}}
	says(t, fails(t, c), "streams of a lone broker")
	c.Cluster = nil
	again := startOf(t, lone.Authority, func(whole *broker.Config) { *whole = c }) // nothing was removed
	stream(t, again.connect(t, "alice", subjects.Admin), subjects.Commands)

	c.StoreDir, c.Cluster = t.TempDir(), &broker.ClusterConfig{Listen: address, Routes: []string{address}}
	start(t, func(whole *broker.Config) { *whole = c }).stop()
	c.Cluster = nil
	says(t, fails(t, c), "that of a broker in a cluster")
}

func TestAWrongClusterNamesAllFaults(t *testing.T) {
	_, err := broker.New(broker.Config{StoreDir: t.TempDir(), Port: -1, Cluster: &broker.ClusterConfig{
		Name: "two words", Listen: "127.0.0.1:0", Routes: []string{"here"}}})
	if fleet.KindOf(err) != fleet.Invalid {
		t.Fatal(err)
	}
	says(t, err, "name: ", "port: ", "cluster.name: ", "cluster.listen: ", "cluster.routes: ")
}

func TestAPortForRoutesInUseIsNamed(t *testing.T) {
	address := freeAddress(t).String()
	start(t, func(c *broker.Config) {
		c.Name, c.Cluster = "first", &broker.ClusterConfig{Listen: address, Routes: []string{address}}
	})
	err := fails(t, broker.Config{Name: "second", StoreDir: t.TempDir(), Cluster: &broker.ClusterConfig{Listen: address, Routes: []string{address}}})
	says(t, err, address+" is in use by ", "another port")
}
