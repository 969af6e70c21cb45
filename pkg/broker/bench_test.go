package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// BenchmarkPublish publishes a message of 300 bytes into COMMANDS, as the
// product has it (created once under its id, shown again, copied to the
// audit), and waits until it is acknowledged: what each setting of
// docs/guarantees.md costs. All brokers run in this process and store below
// TMPDIR, on one disk.
func BenchmarkPublish(b *testing.B) {
	for _, setting := range []struct {
		name, sync string
		clustered  bool
	}{
		{"lone,sync=2m", "2m", false},
		{"lone,sync=always", "always", false},
		{"cluster,R3,sync=2m", "2m", true},
		{"cluster,R3,sync=always", "always", true},
	} {
		b.Run(setting.name, func(b *testing.B) {
			nc := storage(b, setting.sync, setting.clustered)
			b.Run("one", func(b *testing.B) { publishOne(b, nc) })
			b.Run("256", func(b *testing.B) { publishMany(b, nc, 256) })
		})
	}
}

// storage starts brokers and makes all streams; the connection is an
// administrator's, over TCP.
func storage(b *testing.B, sync string, clustered bool) *nats.Conn {
	b.Helper()
	var sites []*site
	replicas := 1
	if clustered {
		sites, replicas = startCluster(b, sync), 3
	} else {
		sites = []*site{start(b, func(c *broker.Config) { c.Sync = sync })}
	}
	creds, err := identity.LoadCreds(user(b, sites[0].Authority, "station-a", subjects.Station).CredsFile)
	if err != nil {
		b.Fatal(err)
	}
	c, err := bus.Connect(b.Context(), bus.Options{URL: urls(sites), TLS: trusts(sites[0].Authority), Credentials: creds})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	eventually(b, func(ctx context.Context) error {
		return c.EnsureStorage(ctx, subjects.Settings{Replicas: replicas, LogsBytes: 1 << 30})
	})
	nc, err := nats.Connect(urls(sites), secure(sites[0].Authority), nats.UserCredentials(user(b, sites[0].Authority, "admin", subjects.Admin).CredsFile),
		nats.CustomInboxPrefix(subjects.Inbox("admin")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	return nc
}

// benchMessage is the i-th of a run.
func benchMessage(run, i int) *nats.Msg {
	command := subjects.Subject{Node: fmt.Sprint("ship", i%100), Direction: subjects.Command, Method: "nothing", Domain: "test"}
	m := nats.NewMsg(subjects.Stored(command, fmt.Sprintf("%d-%d", run, i)))
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	m.Data = bytes.Repeat([]byte("x"), 300)
	return m
}

// benchRuns makes the ids of each run new.
var benchRuns int

func publishOne(b *testing.B, nc *nats.Conn) {
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	benchRuns++
	took := make([]time.Duration, 0, 1<<16)
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		if _, err := js.PublishMsg(b.Context(), benchMessage(benchRuns, i)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func publishMany(b *testing.B, nc *nats.Conn, underWay int) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*underWay))
	if err != nil {
		b.Fatal(err)
	}
	benchRuns++
	wait := func(f jetstream.PubAckFuture) {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			b.Fatal(err)
		}
	}
	var under []jetstream.PubAckFuture
	begun, count := time.Now(), 0
	for ; b.Loop(); count++ {
		if len(under) == underWay {
			wait(under[0])
			under = under[1:]
		}
		f, err := js.PublishMsgAsync(benchMessage(benchRuns, count))
		if err != nil {
			b.Fatal(err)
		}
		under = append(under, f)
	}
	for _, f := range under {
		wait(f)
	}
	b.ReportMetric(float64(count)/time.Since(begun).Seconds(), "per-second")
}
