package dev_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// carried counts what a link carries, both ways.
type carried struct {
	net.Conn
	bytes *atomic.Int64
}

func (c carried) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c carried) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// wordy are hosts that say something which nothing packs; one of them says more.
func wordy(hosts, other int) string {
	var text strings.Builder
	for i := range hosts {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		says := strings.Map(func(rune) rune { return 'a' + random.Int32N(26) }, strings.Repeat("x", 300))
		if i == other {
			says = "another " + says
		}
		fmt.Fprintf(&text, "---\n{apiVersion: fairlead/v1, kind: VirtualHost, metadata: {name: host%d}, spec: {listen: [{port: 8080}], "+
			"serverNames: [host%d.example.org], locations: [{path: /, return: {code: 200, text: %s}}]}}\n", i, i, says)
	}
	return text.String()
}

// One of some hundred hosts, and a certificate among them: a change costs the link a
// small part of what all of it did, and all who ask for it are told right.
func TestAChangeOfOneOfManyHostsCostsALittle(t *testing.T) {
	t.Parallel()
	const hosts = 900
	r := newRig(t, 1)
	r.station()
	var link atomic.Int64
	r.agentWith(0, func(c *agent.Config) {
		c.HealthEvery = -1
		dial := c.Dial
		if dial == nil {
			dial = net.Dial
		}
		c.Dial = func(network, address string) (net.Conn, error) {
			conn, err := dial(network, address)
			return carried{conn, &link}, err
		}
	})
	ctx, cancel := patient(t)
	defer cancel()
	authority := certtest.New(t)
	pair := authority.Issue(shopName)
	succeeds(t, r.client, shop(t, pair, "", shopName), false)
	before := link.Load()
	succeeds(t, r.client, set(t, wordy(hosts, -1)), false)
	first := link.Load() - before
	inSync(t, r.client, "node1")
	old, _ := r.partList()
	sealed := r.sealedKey()

	then := time.Now()
	before = link.Load()
	plan, err := r.client.Plan(ctx, set(t, wordy(hosts, 77)), false)
	if err != nil || plan.Changes() != 1 || len(plan.Nodes) != 1 || strings.Count(plan.Nodes[0].Diff, "+") > 10 {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	succeeds(t, r.client, set(t, wordy(hosts, 77)), false)
	detail := inSync(t, r.client, "node1")
	second := link.Load() - before
	servesLeaf(t, authority, r.nodes[0].Address, pair)
	if first < 100<<10 || second*5 > first {
		t.Errorf("a change cost the link %d bytes after %d for all", second, first)
	}
	t.Logf("%d bytes for all, %d for a change", first, second)

	list, fresh := r.partList()
	for i := range old.Digests.Count() {
		delete(fresh, old.Digests.At(i))
	}
	if len(fresh) != 1 || list.Resources != hosts+2 {
		t.Errorf("%d parts of %d are new", len(fresh), list.Digests.Count())
	}
	if r.sealedKey() != sealed {
		t.Error("the certificate's key was sealed anew")
	}
	d, err := r.client.Desired(ctx, "node1")
	if err != nil || len(d.Resources) != hosts+2 || d.Digest != detail.Reported.Digest {
		t.Errorf("%d resources are desired, %v", len(d.Resources), err)
	}
	history, err := r.client.NodeHistory(ctx, "node1")
	if err != nil || len(history) < 3 {
		t.Fatal(history, err)
	}
	last := history[len(history)-1]
	if last.Problem != "" || last.Resources != hosts+2 || len(last.Changes) != 1 || last.Changes[0].Resource != "VirtualHost/host77" || last.State != message.Succeeded {
		t.Errorf("the history ends with %+v", last)
	}
	at, err := r.client.At(ctx, then, client.PastQuestion{Names: []string{"node1"}})
	if err != nil || len(at) != 1 || at[0].DesiredRevision != last.Revision-1 || at[0].DesiredDigest != history[len(history)-2].Digest {
		t.Errorf("before it was %+v, %v", at, err)
	}
	if on, err := r.client.NodesWith(ctx, "Certificate"); err != nil || len(on["shop"]) != 1 {
		t.Errorf("the certificate is on %v, %v", on, err)
	}
}

// partList is what node1's desired state names.
func (r *rig) partList() (list message.PartList, digests map[string]bool) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	stored, err := r.client.Conn().Last(ctx, subjects.BucketStream(subjects.Desired), subjects.KeySubject(subjects.Desired, subjects.StateKey("node1", "nginxconfig", "nginx")))
	if err != nil || stored == nil {
		r.t.Fatal("the desired state is not there:", err)
	}
	plain, err := bus.EntryOf(subjects.Desired, *stored).Plain(message.DesiredSubject("node1", "nginxconfig", "nginx"))
	if err != nil {
		r.t.Fatal(err)
	}
	named, err := message.PartsOf(plain)
	if err != nil || named == nil {
		r.t.Fatalf("it names no parts: %v: %.200s", err, plain)
	}
	digests = make(map[string]bool)
	for i := range named.Digests.Count() {
		digests[named.Digests.At(i)] = true
	}
	return *named, digests
}

// sealedKey is the shop's key as it is sealed to node1.
func (r *rig) sealedKey() string {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	d, err := r.client.Desired(ctx, "node1")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, resource := range d.Resources {
		if spec, ok := resource.Spec.(*fleet.Certificate); ok {
			text, _ := json.Marshal(spec)
			return string(text)
		}
	}
	r.t.Fatal("there is no certificate")
	return ""
}
