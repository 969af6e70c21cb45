package bench_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bench"
	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// externalBroker runs a broker that no bench has started, and makes a copy of its
// identities below a directory.
func externalBroker(t *testing.T, copied string) (a *identity.Authority, url string) {
	t.Helper()
	dir := t.TempDir()
	a, err := identity.Open(filepath.Join(dir, "identity"), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		t.Fatal(err)
	}
	for name, role := range map[string]subjects.Role{"admin": subjects.Admin, "station": subjects.Station} {
		if _, err := a.User(name, role); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.IssueBroker(false, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.TrustSet(); err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Config{StoreDir: filepath.Join(dir, "broker"), Sync: "2m", Server: a.Server()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-b.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	if r, err := host.Run(t.Context(), host.Command{Path: "cp", Args: []string{"-a", a.Dir(), filepath.Join(copied, "identity")}}); err != nil || r.ExitCode != 0 {
		t.Fatal(err, r)
	}
	return a, b.URL()
}

func TestABrokerThatRunsAlreadyIsMeasuredAndLeftAsItWas(t *testing.T) {
	binary := build(t)
	t.Chdir(t.TempDir())
	a, url := externalBroker(t, "given")
	creds, err := identity.LoadCreds(filepath.Join(a.Dir(), "tenants", "main", "users", "admin.creds"))
	if err != nil {
		t.Fatal(err)
	}
	account := func() string {
		t.Helper()
		data, err := os.ReadFile("given/identity/tenants/main/account.jwt")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := account()
	c, err := client.Open(t.Context(), client.Options{URL: url, TLS: bus.TLS{CA: a.CAFile()}, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const nodes, missed = 3, 2
	measure := func() (bench.Scaled, error) {
		return bench.Scale(t.Context(), bench.ScaleOptions{Options: bench.Options{Binary: binary, Broker: url, Data: "given", Nodes: nodes},
			NginxDelay: time.Millisecond, Settle: time.Millisecond, Steady: 100 * time.Millisecond, Missed: missed, Questions: 1})
	}
	register := func(name, region, site string) {
		t.Helper()
		key, _, err := identity.NewUserKey()
		if err == nil {
			err = c.Register(t.Context(), station.NodeRecord{Name: name, Key: key, Labels: map[string]string{"region": region, "site": site}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := measure()
	if err != nil {
		t.Fatal(err)
	}
	if r.Broker != url || r.Plain || r.Sync != "" || len(r.Figures) != 16 || r.Memory.Broker != 0 || r.Memory.Agents == 0 {
		t.Errorf("%+v", r)
	}
	if st := r.Storm; st.States[message.Succeeded] != nodes*missed {
		t.Errorf("%+v", st)
	}
	for _, bucket := range []string{subjects.Nodes, subjects.Fleet} {
		err := c.Conn().Keys(t.Context(), bucket, func(e bus.Entry) error {
			if !e.Deleted {
				return errors.New(e.Key)
			}
			return nil
		})
		if err != nil {
			t.Errorf("of the measurement there is left in %s: %v", bucket, err)
		}
	}
	if account() != before {
		t.Error("what roles of the fleet may do is another than before")
	}

	register("n00007", "r7", "s07") // as a bench leaves it that was killed
	if _, err := measure(); err != nil {
		t.Error(err)
	}
	register("ship1", "r1", "s01")
	if _, err = measure(); fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), "ship1") {
		t.Errorf("a fleet with nodes is measured: %v", err)
	}
	if r, err := c.Registered(t.Context(), "ship1"); err != nil || r.Name != "ship1" {
		t.Errorf("somebody's node was taken out: %v", err)
	}
	if all := left(t, binary); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
}

func TestABrokerWhoseIdentitiesAreNotHereIsNotMeasured(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := bench.Scale(t.Context(), bench.ScaleOptions{Options: bench.Options{Broker: "tls://192.0.2.1:4222", Data: "given"}})
	if err == nil || !strings.Contains(err.Error(), "copy the identity directory") {
		t.Errorf("%v", err)
	}
	if made, _ := filepath.Glob("given/identity/*"); len(made) > 0 {
		t.Errorf("identities of nobody were made: %v", made)
	}
}
