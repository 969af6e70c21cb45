package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"fairlead/pkg/broker"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// startLeaf runs a leafnode from a directory of identity.Authority.CreateLeaf.
func startLeaf(t *testing.T, a *identity.Authority, dir, hub string, change func(*broker.Config)) *site {
	t.Helper()
	s, err := identity.LoadServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return startOf(t, a, func(c *broker.Config) {
		c.Name, c.Server, c.Leaf = "leaf", s, &broker.LeafConfig{Hub: []string{hub}, Dir: dir}
		if change != nil {
			change(c)
		}
	})
}

func createLeaf(t *testing.T, a *identity.Authority, name string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "broker")
	if _, err := a.CreateLeaf(name, dir, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNodesBehindALeafnodeAreAsIfTheyWereAtTheHub(t *testing.T) {
	a := authority(t, t.TempDir(), identity.Options{Methods: nothing(nil).Sent()})
	dir, address := createLeaf(t, a, "edge"), freeAddress(t).String()
	hub := startOf(t, a, func(c *broker.Config) { c.Leafnodes = address })
	port := freeAddress(t).Port
	onPort := func(c *broker.Config) { c.Port = port }
	leaf := startLeaf(t, a, dir, address, onPort)
	f := fleetThrough(t, []*site{hub}, 1, leaf.URL())
	sent := f.send(t, 20, nil)
	f.succeed(t, sent)

	// What an agent asks of JetStream itself, where no station answers.
	node := leaf.connect(t, "ship1", subjects.Node)
	for subject, body := range map[string]string{
		"$JS.API.DIRECT.GET.KV_trust.$KV.trust.set":                         "",
		"$JS.API.DIRECT.GET.KV_trust":                                       `{"last_by_subj":"$KV.trust.set"}`,
		"$JS.API.DIRECT.GET.KV_desired.$KV.desired.ship1.nginxconfig.nginx": "",
		"$JS.API.DIRECT.GET.KV_blobs.$KV.blobs.x":                           "",
		"$JS.API.CONSUMER.CREATE.COMMANDS.ship1.fleet.ship1.command.>":      `{"stream_name":"COMMANDS","config":{"name":"ship1","filter_subject":"fleet.ship1.command.>","ack_policy":"none","mem_storage":true}}`,
		"$KV.reported.ship1.nginxconfig.test":                               "{}",
		subjects.Stored(subjects.Subject{Node: "ship1", Direction: subjects.Event, Method: "lifecycle", Domain: "test"}, "ID1"): "{}",
	} {
		if reply, err := node.Request(subject, []byte(body), patience); err != nil || strings.Contains(string(reply.Data), `"error"`) {
			t.Errorf("%s: %v, %v", subject, reply, err)
		}
	}

	// Commands wait while the place is cut off.
	leaf.stop()
	more := f.send(t, 6, nil)
	startLeaf(t, a, dir, address, func(c *broker.Config) { c.Port, c.StoreDir = port, leaf.config.StoreDir })
	f.succeed(t, more)
	f.endedOnce(t, append(sent, more...))
}

func TestAPlainNATSServerIsAHub(t *testing.T) {
	a := authority(t, t.TempDir(), identity.Options{})
	dir, address := createLeaf(t, a, "edge"), freeAddress(t).String()
	hub := natsServer(t, a, broker.External{Name: "n1", Listen: freeAddress(t).String(), Sync: "2m", Leafnodes: address})
	eventually(t, func(context.Context) error {
		return connectAs(t, hub.URL(), trusts(a), user(t, a, "admin", subjects.Admin))
	})
	hub.ensureStorage(t)
	node := startLeaf(t, a, dir, address, nil).connect(t, "ship1", subjects.Node)
	for _, subject := range []string{"fleet.ship1.event.lifecycle.test.ID1", "$JS.API.DIRECT.GET.KV_trust.$KV.trust.set", "$KV.reported.ship1.nginxconfig.test"} {
		eventually(t, func(context.Context) error {
			_, err := node.Request(subject, nil, patience)
			return err
		})
	}
}

func TestAHubTakesNobodyAsALeafnodeButItsOwn(t *testing.T) {
	a, other := authority(t, t.TempDir(), identity.Options{}), authority(t, t.TempDir(), identity.Options{})
	dir, foreign, node := createLeaf(t, a, "edge"), createLeaf(t, other, "edge"), createLeaf(t, a, "port")
	address := freeAddress(t).String()
	var log safeBuffer
	hub := startOf(t, a, func(c *broker.Config) {
		c.Leafnodes, c.Logger = address, slog.New(slog.NewTextHandler(&log, nil))
	})
	hub.ensureStorage(t)
	refused := func(what, says string, start func()) {
		t.Helper()
		before := strings.Count(log.String(), says)
		start()
		eventually(t, func(context.Context) error {
			if strings.Count(log.String(), says) == before {
				return errors.New(what + " was not refused: " + log.String())
			}
			return nil
		})
	}
	// Each on its own would do: a broker of another authority, and who has a
	// certificate of this one but only a node's key, or a person's.
	refused("another authority's leafnode", "TLS leafnode handshake error", func() { startLeaf(t, other, foreign, address, nil) })
	for _, u := range []identity.User{user(t, a, "ship1", subjects.Node), user(t, a, "alice", subjects.Admin)} {
		data, err := os.ReadFile(u.CredsFile)
		if err := errors.Join(err, os.WriteFile(filepath.Join(node, identity.LeafCreds), data, 0o600)); err != nil {
			t.Fatal(err)
		}
		refused("the key of "+u.Name, "authentication error", func() { startLeaf(t, a, node, address, nil) })
	}
	// Nor does a leafnode's key open the door of people.
	if err := connectAs(t, hub.URL(), trusts(a), identity.User{CredsFile: filepath.Join(dir, identity.LeafCreds)}); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("a leafnode's key as a client's: %v", err)
	}
	// What its clients believe is no broker's certificate.
	if _, err := broker.New(broker.Config{Name: "x", Server: serverOf(t, dir), StoreDir: t.TempDir(),
		Cluster: &broker.ClusterConfig{Listen: "127.0.0.1:1", Routes: []string{"127.0.0.1:1"}}, Leaf: &broker.LeafConfig{}}); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("a leafnode in a cluster: %v", err)
	}
	routes := freeAddress(t)
	_ = startOf(t, a, func(c *broker.Config) {
		c.Name, c.Cluster = "ours", &broker.ClusterConfig{Listen: routes.String(), Routes: []string{routes.String()}}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	refused("a leafnode in the cluster", "TLS route handshake error", func() {
		startOf(t, a, func(c *broker.Config) {
			c.Name, c.Server = "leaf", serverOf(t, dir)
			c.Cluster = &broker.ClusterConfig{Listen: freeAddress(t).String(), Routes: []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(routes.Port))}}
		})
	})
	// The right one is let in.
	leaf := startLeaf(t, a, dir, address, nil)
	nc := leaf.connect(t, "ship2", subjects.Node)
	eventually(t, func(context.Context) error {
		_, err := nc.Request("fleet.ship2.event.lifecycle.test.ID1", []byte("{}"), patience)
		return err
	})
}

func serverOf(t *testing.T, dir string) identity.Server {
	t.Helper()
	s, err := identity.LoadServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
