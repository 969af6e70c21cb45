package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/broker"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// figure is a metric of a station.
func figure(t *testing.T, st *station.Station, name string) int {
	t.Helper()
	w := httptest.NewRecorder()
	st.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("the station has no metric %s", name)
	return 0
}

// The broker is started anew under many agents, with commands for all of them, and the
// station answers a few at once.
func TestAFleetThatReturnsAtOnceIsAnsweredAFewAtATimeAndLosesNothing(t *testing.T) {
	const agents, atOnce = 60, 3
	s := ownSystem(t)
	port := freePort(t)
	startBroker := func() (stop func()) {
		b, err := broker.New(broker.Config{StoreDir: filepath.Join(s.dir, "broker"), Port: port, Sync: "2m", Drain: -1, Plain: true,
			Server: s.authority.Server(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return runs(t, t.Cleanup, b.Ready(), b.Run)
	}
	stopBroker := startBroker()
	s.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	cfg, err := stationConfig(s.dir, s.url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.SyncsAtOnce = atOnce
	st, err := station.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, t.Cleanup, st.Ready(), st.Run)
	s.connect(t, t.Cleanup)

	var all []*node
	for range agents {
		all = append(all, s.newNode(t))
	}
	var starts sync.WaitGroup
	var mu sync.Mutex
	var stops []func()
	for _, n := range all {
		starts.Go(func() {
			stop := n.start(t, func(c *agent.Config) { c.Heartbeat, c.SyncEvery = time.Second, 5*time.Second })
			mu.Lock()
			defer mu.Unlock()
			stops = append(stops, stop)
		})
	}
	starts.Wait()
	online := func() bool {
		ctx, cancel := patient(t)
		defer cancel()
		sum, err := s.client.Summary(ctx, station.NodesQuestion{})
		return err == nil && sum.Presence[station.Online] == agents
	}
	eventually(t, "all are there", online)
	answered := func() int { return figure(t, st, `fairlead_syncs_total{outcome="answered"}`) }
	eventually(t, "all have asked what waits", func() bool { return answered() >= agents })

	stopBroker()
	stopBroker = startBroker()
	defer stopBroker()
	var commands []client.Command
	for _, n := range all {
		commands = append(commands, n.command(work, "a", ""), n.command(work, "b", ""))
	}
	var sent []client.Sent
	eventually(t, "the commands are stored", func() bool {
		ctx, cancel := patient(t)
		defer cancel()
		sent, err = s.client.Send(ctx, commands...)
		return err == nil
	})
	eventually(t, "all are there again", online)
	ended := make(map[string]message.State) // those too of an attempt that failed in the middle
	open := make(map[string]bool)
	for _, one := range sent {
		open[one.ID] = true
	}
	// A question that is lost as the broker ends is asked again after half a minute.
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	if err := s.client.Audit(ctx, client.AuditOptions{Follow: true}, func(r client.Record) error {
		if m := r.Message; m.Command != "" && m.State.Final() {
			if before, twice := ended[m.Command]; twice {
				t.Errorf("command %s ended %s and then %s", m.Command, before, m.State)
			}
			ended[m.Command] = m.State
			delete(open, m.Command)
		}
		if len(open) == 0 {
			return errSeen
		}
		return nil
	}); err != errSeen {
		t.Fatalf("%d of %d commands have no end: %v", len(open), len(sent), err)
	}
	for i, one := range sent {
		if n := all[i/2]; ended[one.ID] != message.Succeeded || n.count(t, one.ID) != 1 {
			t.Errorf("a command to %s ended %q and ran %d times", n.name, ended[one.ID], n.count(t, one.ID))
		}
	}
	if most := figure(t, st, "fairlead_syncs_at_once_max"); most > atOnce {
		t.Errorf("%d nodes were answered at once", most)
	}
	t.Logf("%d syncs were answered, %d told to come later", figure(t, st, `fairlead_syncs_total{outcome="answered"}`), figure(t, st, `fairlead_syncs_total{outcome="busy"}`))
	var ends sync.WaitGroup
	for _, stop := range stops {
		ends.Go(stop)
	}
	ends.Wait()
}
