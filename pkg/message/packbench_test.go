package message_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/syslog"
	"fairlead/subjects"
)

// bodies are what travels most, as programs make it, with names and numbers of
// random. docs/adr/0018-compression.md has the figures.
func bodies(t testing.TB) []named {
	t.Helper()
	random := rand.New(rand.NewSource(1))
	all := []named{{"answer", []byte(shortAnswer)}, {"health", []byte(healthReport)}, {"logs-8", logBatch(t, random, 8)}, {"logs-256", logBatch(t, random, 256)}}
	for _, n := range []int{10, 100, 1000} {
		all = append(all, named{fmt.Sprintf("hosts-%d", n), hosts(t, random, n)})
	}
	return all
}

type named struct {
	name string
	body []byte
}

// shortAnswer is that of a node to nginxconfig.
const shortAnswer = `{"message":"revision 7 serves: 3 hosts, 2 upstreams; 1 host changed","changed":true,"tookMs":131.4,"result":{"revision":7,` +
	`"digest":"9f669c46e06b3915c0dd8b9fb607fcd5664b35ce3106af40e8dcd90175438b30","status":"applied","before":"47c1b0e05b7ab4a3a6a4d0b5bd5ee9fc2fa3c5e4c3e88a0d5f2f5be9a8c9ad51",` +
	`"changed":["VirtualHost/shop"],"probed":1,"workers":2,"tookMs":{"render":1.2,"stage":12.1,"check":38.4,"reload":78.9,"probe":3.2}},"acceptedAt":"2026-11-27T00:37:35.388792196Z"}`

// healthReport is one of an agent.
const healthReport = `{"at":"2026-11-27T00:37:35.388792196Z","everySeconds":15,"nginx":{"up":true,"pid":7658,"workers":2,"draining":0,` +
	`"uptime":11803822683,"running":"9f669c46e06b3915c0dd8b9fb607fcd5664b35ce3106af40e8dcd90175438b30",` +
	`"counters":{"active":1,"accepted":33,"handled":33,"requests":32,"reading":0,"writing":1,"waiting":0},"version":"1.22.1",` +
	`"disk":"9f669c46e06b3915c0dd8b9fb607fcd5664b35ce3106af40e8dcd90175438b30","revision":1,"whole":1,"hermetic":true},` +
	`"host":{"cpuPercent":36.435124508519,"load1":1.8,"load5":2.16,"load15":2.86,"memoryTotalBytes":25276502016,` +
	`"memoryUsedBytes":902172672,"memoryAvailableBytes":24374329344,"swapTotalBytes":0,"swapUsedBytes":0,` +
	`"diskPath":"/var/lib/fairlead/state","diskTotalBytes":270553174016,"diskUsedBytes":48845369344,` +
	`"diskAvailableBytes":48947924992,"diskInodesTotal":16777216,"diskInodesUsed":589144,"uptimeSeconds":22809.543825233,` +
	`"bootId":"89cce09d-c484-4cca-bbf3-bd69900fa445","facts":{"hostname":"ship1","os":"linux","platform":"debian",` +
	`"platformVersion":"12","kernel":"6.1.0-25-amd64","arch":"amd64","cpus":2,"virtualization":"kvm"}},` +
	`"link":{"day":"2026-11-27","inBytes":12359,"outBytes":9168}}`

// logBatch is what nginx logs of so many requests.
func logBatch(t testing.TB, random *rand.Rand, lines int) []byte {
	t.Helper()
	at := time.Date(2026, 11, 27, 0, 37, 0, 0, time.UTC)
	batch := struct {
		ID      string          `json:"id"`
		Records []syslog.Record `json:"records"`
	}{ID: sampleID}
	for range lines {
		at = at.Add(time.Duration(random.Intn(3)) * time.Second)
		browser := 100 + random.Intn(40)
		batch.Records = append(batch.Records, syslog.Record{At: at, Facility: 23, Severity: 6, Host: "ship1", App: "nginx",
			Message: fmt.Sprintf(`10.%d.%d.%d - - [%s] "GET /p/%x/%d?q=%x HTTP/1.1" %d %d "https://shop.example.org/" "Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%d.0"`,
				random.Intn(256), random.Intn(256), random.Intn(256), at.Format("02/Jan/2006:15:04:05 -0700"), random.Intn(1<<16), random.Intn(1000), random.Intn(1<<30),
				[]int{200, 200, 200, 304, 404}[random.Intn(5)], random.Intn(100000), browser, browser)})
	}
	return encoded(t, batch)
}

// hosts is a desired state of so many hosts, each with two locations.
func hosts(t testing.TB, random *rand.Rand, count int) []byte {
	t.Helper()
	word := func(bytes int) string {
		b := make([]byte, bytes)
		random.Read(b)
		return hex.EncodeToString(b)
	}
	d := nginx.Desired{Revision: 7, Digest: word(32), Address: "10.0.0.1"}
	for i := range count {
		name := fmt.Sprintf("shop-%s.example.org", word(3))
		spec := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: 443}}, ServerNames: []string{name, "www." + name}, Locations: []fleet.Location{
			{Path: "/", Return: &fleet.Return{Code: 200, Text: word(4)}},
			{Path: "/" + word(2) + "/", Redirect: &fleet.Redirect{Code: 301, To: "https://" + word(4) + ".example.org/"}}}}
		d.Resources = append(d.Resources, fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: fmt.Sprintf("host%d", i)}, Spec: spec})
	}
	return encoded(t, d)
}

func encoded(t testing.TB, value any) []byte {
	t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// BenchmarkPack compares what packs: zstd's levels with S2, and each with itself on
// the way back. "bytes" is what is left of the body.
func BenchmarkPack(b *testing.B) {
	type codec struct {
		name         string
		pack, unpack func([]byte) []byte
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		b.Fatal(err)
	}
	codecs := []codec{{"s2", func(in []byte) []byte { return s2.Encode(nil, in) }, func(in []byte) []byte { out, _ := s2.Decode(nil, in); return out }}}
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
		if err != nil {
			b.Fatal(err)
		}
		codecs = append(codecs, codec{"zstd-" + level.String(), func(in []byte) []byte { return e.EncodeAll(in, nil) }, func(in []byte) []byte { out, _ := d.DecodeAll(in, nil); return out }})
	}
	for _, each := range bodies(b) {
		for _, c := range codecs {
			packed := c.pack(each.body)
			if string(c.unpack(packed)) != string(each.body) {
				b.Fatalf("%s by %s comes out as another", each.name, c.name)
			}
			share := 100 * float64(len(packed)) / float64(len(each.body))
			b.Run(each.name+"/"+c.name+"/pack", func(b *testing.B) {
				for b.Loop() {
					c.pack(each.body)
				}
				b.ReportMetric(float64(len(packed)), "bytes")
				b.ReportMetric(share, "%")
			})
			b.Run(each.name+"/"+c.name+"/unpack", func(b *testing.B) {
				for b.Loop() {
					c.unpack(packed)
				}
			})
		}
	}
}

// BenchmarkPackAnew is what a packer costs that had gone with the garbage.
func BenchmarkPackAnew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
		if err != nil {
			b.Fatal(err)
		}
		e.EncodeAll([]byte(healthReport), nil)
	}
}

// BenchmarkSignOf is what a sender pays for each kind of message, signature and all.
func BenchmarkSignOf(b *testing.B) {
	alice := newSigner(b)
	for _, each := range bodies(b) {
		m := message.Message{Subject: subjects.Subject{Node: "ship1", Direction: subjects.Event, Method: "healthreport", Domain: "nginx"}, ID: sampleID, From: "ship1", Body: each.body}
		b.Run(each.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Sign(alice); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(m.Wire())), "bytes")
		})
	}
}
