package broker_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// foreign builds nats-server as anybody gets it, of the version that go.mod has.
var foreign = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fl-nats-server-")
	if err != nil {
		return "", err
	}
	builtDirs = append(builtDirs, dir)
	path := filepath.Join(dir, "nats-server")
	build := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released, and as the packages are that are compiled already
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w: %s", err, out)
	}
	return path, nil
})

// builtDirs are removed by TestMain.
var builtDirs []string

// natsServer writes a broker's directory and its configuration as for another
// host, has nats-server check it, and starts it. edits are pairs of what to
// replace by what.
func natsServer(t *testing.T, a *identity.Authority, e broker.External, edits ...string) *site {
	t.Helper()
	binary, err := foreign()
	if err != nil {
		t.Fatal(err)
	}
	e.Dir, e.Store = filepath.Join(t.TempDir(), "given"), filepath.Join(t.TempDir(), "store")
	if err := a.CopyBroker(e.Dir, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	s, err := identity.LoadServer(e.Dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := e.Configuration(s)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer(edits...).Replace(text)
	file := filepath.Join(e.Dir, "nats-server.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary, "-t", "-c", file).CombinedOutput(); err != nil {
		t.Fatalf("nats-server refuses it: %v: %s\n%s", err, out, text)
	}
	var log safeBuffer
	cmd := exec.Command(binary, "-c", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s", e.Name, log.String())
		}
	})
	return &site{Authority: a, dir: a.Dir(), at: "tls://" + e.Listen, stop: stop}
}

func TestAClusterOfPlainNATSServersRunsTheWrittenConfiguration(t *testing.T) {
	a := authority(t, t.TempDir(), identity.Options{Methods: nothing(nil).Sent()})
	var routes []string
	for range 3 {
		routes = append(routes, freeAddress(t).String())
	}
	var sites []*site
	for i, listen := range routes {
		sites = append(sites, natsServer(t, a, broker.External{Name: fmt.Sprint("n", i+1), Listen: freeAddress(t).String(), Sync: "2m",
			Cluster: &broker.ClusterConfig{Listen: listen, Routes: routes}}))
	}
	eventually(t, func(context.Context) error {
		return connectAs(t, urls(sites), trusts(a), user(t, a, "admin", subjects.Admin))
	})
	elected(t, sites)

	// The whole product runs on it, with three replicas.
	f := fleetOn(t, sites)
	sent := f.send(t, 20, nil)
	f.succeed(t, sent)
	f.endedOnce(t, sent)
	info, err := f.commands(t.Context())
	if err != nil || info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 {
		t.Errorf("the mailbox: %+v, %v", info, err)
	}
	for _, s := range sites {
		if _, err := nats.Connect(s.URL(), secure(a)); !errors.Is(err, nats.ErrAuthorization) {
			t.Error("anonymous:", err)
		}
		if err := connectAs(t, strings.Replace(s.URL(), "tls://", "nats://", 1), bus.TLS{}, user(t, a, "admin", subjects.Admin)); fleet.KindOf(err) != fleet.Refused {
			t.Error("without TLS:", err)
		}
	}

	hearsOfConnections(t, a, sites[0], sites[2])

	// A new tenant and a revocation reach all of them.
	shop := authority(t, a.Dir(), identity.Options{Tenant: "shop"})
	alice, mallory := user(t, shop, "alice", subjects.Admin), user(t, a, "mallory", subjects.Admin)
	pushed := func(account string) {
		t.Helper()
		took, err := sites[0].system(t).PushAccount(t.Context(), account)
		if err != nil || !slices.Equal(took, []string{"n1", "n2", "n3"}) {
			t.Fatalf("%v took it: %v", took, err)
		}
	}
	pushed(shop.AccountJWTs()[shop.TenantAccount()])
	var conns []*nats.Conn
	for _, s := range sites {
		if !takes(t, s, alice) {
			t.Errorf("%s does not know the new tenant", s.URL())
		}
		nc, err := nats.Connect(s.URL(), secure(a), nats.UserCredentials(mallory.CredsFile), nats.NoReconnect(),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns = append(conns, nc)
	}
	pushed(reissue(t, a.Dir(), a, func(c *jwt.AccountClaims) { c.RevokeAt(mallory.Key, time.Now()) }))
	for i, nc := range conns {
		eventually(t, func(context.Context) error {
			if !nc.IsClosed() {
				return fmt.Errorf("mallory is connected to n%d still", i+1)
			}
			return nil
		})
		if takes(t, sites[i], mallory) {
			t.Errorf("n%d lets mallory in again", i+1)
		}
	}
}

// hearsOfConnections asserts that a station at one broker is told of those that begin
// and end at another.
func hearsOfConnections(t *testing.T, a *identity.Authority, here, there *site) {
	t.Helper()
	connect := func(s *site, name string, role subjects.Role) *bus.Conn {
		t.Helper()
		creds, err := identity.LoadCreds(user(t, a, name, role).CredsFile)
		if err != nil {
			t.Fatal(err)
		}
		c, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), TLS: trusts(a), Credentials: creds})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	station := connect(here, "station", subjects.Station)
	defer station.Close()
	heard := make(chan bus.Link, 1024)
	run, err := station.Beats(func(string, []byte) {}, func(l bus.Link) { heard <- l })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	begun := false
	eventually(t, func(context.Context) error { // brokers tell each other who wants to hear what
		connect(there, "visitor", subjects.Node).Close()
		for {
			select {
			case l := <-heard:
				begun = begun || l.User == "visitor" && l.Up
				if begun && l.User == "visitor" && !l.Up {
					return nil
				}
			default:
				return errors.New("a connection at another broker is not told")
			}
		}
	})
}

func TestAPlainNATSServerTakesPeersByTheirCertificates(t *testing.T) {
	a, other := authority(t, t.TempDir(), identity.Options{}), authority(t, t.TempDir(), identity.Options{})
	leaf, gateway, route := freeAddress(t).String(), freeAddress(t).String(), freeAddress(t).String()
	s := natsServer(t, a, broker.External{Name: "n1", Listen: freeAddress(t).String(), VerifyClients: true, Leafnodes: leaf, Gateway: gateway,
		Gateways: map[string][]string{"overseas": {"127.0.0.1:1"}}, Cluster: &broker.ClusterConfig{Name: "home", Listen: route, Routes: []string{route}}})
	alice := user(t, a, "alice", subjects.Admin)
	with := trusts(a)
	with.Cert, with.Key = clientFiles(t, a)
	eventually(t, func(context.Context) error { return connectAs(t, s.URL(), with, alice) })
	if err := connectAs(t, s.URL(), trusts(a), alice); fleet.KindOf(err) != fleet.Refused {
		t.Error("a client without a certificate:", err)
	}
	own, err := a.Server().TLS.ForBrokers()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.Server().TLS.ForBrokers()
	if err != nil {
		t.Fatal(err)
	}
	stranger, none := own.Clone(), own.Clone()
	stranger.GetClientCertificate, none.GetClientCertificate = theirs.GetClientCertificate, nil
	client, err := tls.LoadX509KeyPair(with.Cert, with.Key)
	if err != nil {
		t.Fatal(err)
	}
	leafnode := own.Clone()
	leafnode.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &client, nil }
	for name, address := range map[string]string{"leafnodes": leaf, "gateway": gateway, "route": route} {
		peer := own
		if address == leaf {
			peer = leafnode
		}
		eventually(t, func(context.Context) error { return greeted(address, peer) })
		if greeted(address, stranger) == nil || greeted(address, none) == nil {
			t.Errorf("%s: somebody is taken whom the own authority does not know", name)
		}
	}
}

// greeted reports whether a server goes on speaking after the handshake, in
// which the last word is its own.
func greeted(address string, c *tls.Config) error {
	conn, err := tls.Dial("tcp", address, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1))
	return err
}

// Somebody's server may speak before TLS begins, as nats-server does by itself.
func TestAServerThatGreetsBeforeTLSIsTakenWhereThatIsSaid(t *testing.T) {
	a := authority(t, t.TempDir(), identity.Options{})
	s := natsServer(t, a, broker.External{Name: "n1", Listen: freeAddress(t).String()}, "handshake_first: true", "")
	alice := user(t, a, "alice", subjects.Admin)
	told := trusts(a)
	told.GreetsFirst = true
	eventually(t, func(context.Context) error { return connectAs(t, s.URL(), told, alice) })
	err := connectAs(t, s.URL(), trusts(a), alice)
	if fleet.KindOf(err) != fleet.Refused {
		t.Fatal(err)
	}
	says(t, err, "greets before TLS")
}

func TestAnExternalBrokerThatCannotBeIsRefusedWithAllFaults(t *testing.T) {
	a := authority(t, t.TempDir(), identity.Options{})
	_, err := broker.External{Listen: "here", Dir: "given", Store: "./store", Sync: "often", Leafnodes: "0.0.0.0", Gateway: "0.0.0.0:7222"}.Configuration(a.Server())
	if fleet.KindOf(err) != fleet.Invalid {
		t.Fatal(err)
	}
	says(t, err, "name: ", "listen: ", "dir: ", "store: ", "sync: ", "leafnodes: ", "gateway: ")
}
