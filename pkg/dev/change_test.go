package dev_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func TestABrokenConfigFileIsLeftOutWithNginxsOwnLineAndTheSiteServes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	r.agent(0)
	succeeds(t, r.client, set(t, site("s", "", 8080, "old")), false)
	good := inSync(t, r.client, "node1")

	broken := set(t, "{apiVersion: fairlead/v1, kind: ConfigFile, metadata: {name: bad}, spec: {context: http, content: \"allow no_such_address;\\n\"}}\n")
	o := outcomes(t, r.client, apply(t, r.client, broken, false))
	if len(o) != 1 || o[0].State != message.FailedEnd || o[0].Answer.Kind != fleet.Failed ||
		!strings.Contains(o[0].Answer.Message, `invalid parameter "no_such_address"`) {
		t.Errorf("the outcome is %+v", o)
	}
	serves(t, r.nodes[0].Address, 8080, "old")
	eventually(t, "the failure shows", func() bool { return node(t, r.client, "node1").Sync == station.Partial })
	d := node(t, r.client, "node1")
	if d.DesiredRevision != good.DesiredRevision+1 || d.ObservedRevision != good.ObservedRevision || d.RunningDigest != good.RunningDigest ||
		!strings.Contains(d.Message, "no_such_address") {
		t.Errorf("the status is %+v", d.NodeStatus)
	}
	if o := outcomes(t, r.client, apply(t, r.client, broken, true)); len(o) != 1 || o[0].State != message.Succeeded || o[0].Answer.Changed {
		t.Errorf("the removal's outcome is %+v", o)
	}
	if d := inSync(t, r.client, "node1"); d.RunningDigest != good.RunningDigest || d.ObservedRevision != good.ObservedRevision+2 {
		t.Errorf("the status is %+v", d.NodeStatus)
	}
	serves(t, r.nodes[0].Address, 8080, "old")
	endedOnce(t, r.client, "node1")
}

func TestANodeThatWasAwayReloadsOnceWithTheNewest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	a := r.agent(0)
	succeeds(t, r.client, set(t, site("s", "", 8080, "before")), false)
	inSync(t, r.client, "node1")
	a.stop(t)
	serves(t, r.nodes[0].Address, 8080, "before") // without its agent too

	var told []client.Sent
	for _, text := range []string{"older", "newest"} {
		told = append(told, apply(t, r.client, set(t, site("s", "", 8080, text)), false)...)
	}
	ctx, cancel := patient(t)
	defer cancel()
	reload := client.Command{Subject: subjects.Subject{Node: "node1", Direction: subjects.Command, Method: "reload", Domain: "nginx"}}
	sent, err := r.client.Send(ctx, slices.Repeat([]client.Command{reload}, 5)...)
	if err != nil {
		t.Fatal(err)
	}
	told = append(told, sent...)
	var d station.NodeDetail
	eventually(t, "all of it is pending", func() bool {
		d = node(t, r.client, "node1")
		return d.Presence == station.Offline && d.Sync == station.Pending && d.Waiting == 7
	})
	if d.LastSeen.IsZero() {
		t.Error("it is not said when the node was last seen")
	}

	r.agent(0)
	all := outcomes(t, r.client, told)
	changed := 0
	for i, o := range all {
		if o.Answer.Changed {
			changed++
		}
		want, by := message.Superseded, ""
		switch i {
		case 1, 6:
			want = message.Succeeded
		case 0:
			by = told[1].ID
		default:
			by = told[6].ID
		}
		if o.State != want || o.Answer.By != by {
			t.Errorf("command %d ended %s by %q: %s", i, o.State, o.Answer.By, o.Answer.Message)
		}
	}
	if changed != 1 {
		t.Errorf("nginx was changed or reloaded %d times", changed)
	}
	serves(t, r.nodes[0].Address, 8080, "newest")
	inSync(t, r.client, "node1")
	endedOnce(t, r.client, "node1")
}

func TestTwoStationsDoWhatOneDoes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.station()
	r.station()
	for i := range r.nodes {
		r.agent(i)
	}
	const changes = 20
	ctx, cancel := patient(t)
	defer cancel()
	for i := range changes {
		s := set(t, site("s", "", 8080, fmt.Sprintf("change %d", i)))
		plan, err := r.client.Plan(ctx, s, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.client.Apply(ctx, plan); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range r.nodes {
		eventually(t, n.Name+" serves the last change", func() bool {
			_, body := get(n.Address, 8080)
			return body == fmt.Sprintf("change %d", changes-1)
		})
		d := inSync(t, r.client, n.Name)
		told := make(map[uint64]string)
		for _, m := range endedOnce(t, r.client, n.Name) {
			var body handlers.NginxConfigBody
			if err := json.Unmarshal(m.Body, &body); err != nil {
				t.Fatal(err)
			}
			if other, twice := told[body.Revision]; twice {
				t.Errorf("%s was told of revision %d by %s and %s", n.Name, body.Revision, other, m.ID)
			}
			told[body.Revision] = m.ID
			if body.Revision > d.DesiredRevision {
				t.Errorf("%s was told of revision %d, and %d is the newest", n.Name, body.Revision, d.DesiredRevision)
			}
		}
		if told[d.DesiredRevision] == "" || d.DesiredRevision > changes {
			t.Errorf("%s has revision %d after %d changes, and was told %v", n.Name, d.DesiredRevision, changes, told)
		}
	}
}

func TestAStationThatStartsKnowsWhatTheLastOneKnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	st := r.station()
	a := r.agent(0)
	r.agent(1)
	succeeds(t, r.client, set(t, site("s", "", 8080, "here")), false)
	inSync(t, r.client, "node1")
	inSync(t, r.client, "node2")
	a.stop(t)
	told := apply(t, r.client, set(t, site("s", "index=1", 8080, "there")), false)
	outcomes(t, r.client, slices.DeleteFunc(slices.Clone(told), func(s client.Sent) bool { return s.Node == "node1" }))
	eventually(t, "node1 is away", func() bool { return node(t, r.client, "node1").Presence == station.Offline })
	inSync(t, r.client, "node2")
	before := node(t, r.client, "node1")
	st.stop(t)
	ctx, cancel := patient(t)
	defer cancel()
	// Stored while no station is there.
	sent, err := r.client.Send(ctx, client.Command{Subject: subjects.Subject{Node: "node1", Direction: subjects.Command, Method: "reload", Domain: "nginx"}})
	if err != nil {
		t.Fatal(err)
	}

	r.station()
	after := node(t, r.client, "node1")
	if after.Presence != station.Offline || after.Sync != station.Pending || !after.LastSeen.Equal(before.LastSeen) ||
		after.DesiredRevision != before.DesiredRevision || after.ObservedRevision != before.ObservedRevision {
		t.Errorf("before %+v\nafter %+v", before.NodeStatus, after.NodeStatus)
	}
	var waiting []string
	for _, w := range after.Commands {
		waiting = append(waiting, w.ID)
	}
	want := []string{sent[0].ID}
	for _, s := range told {
		if s.Node == "node1" {
			want = append([]string{s.ID}, want...)
		}
	}
	if !slices.Equal(waiting, want) {
		t.Errorf("waiting are %q, not %q", waiting, want)
	}
	if d := node(t, r.client, "node2"); d.Sync != station.InSync || d.Presence != station.Online {
		t.Errorf("node2 is %s and %s", d.Presence, d.Sync)
	}
	r.agent(0)
	inSync(t, r.client, "node1")
	serves(t, r.nodes[0].Address, 8080, "there")
	for _, n := range r.nodes {
		endedOnce(t, r.client, n.Name)
	}
}

func TestLabelsDecideWhatANodeIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.station()
	r.label(0, map[string]string{"role": "edge"})
	r.label(1, map[string]string{"role": "core"})
	r.agent(0)
	r.agent(1)
	resources := site("all", "", 8080, "both") + "---\n" + site("edge", "role=edge", 8081, "edge") + "---\n" + site("core", "role=core", 8082, "core")
	succeeds(t, r.client, set(t, resources), false)
	check := func(edge, core int) {
		t.Helper()
		for i, n := range r.nodes {
			serves(t, n.Address, 8080, "both")
			for port, owner := range map[int]int{8081: edge, 8082: core} {
				if code, _ := get(n.Address, port); (code == 200) != (i == owner) {
					t.Errorf("%s:%d answers %d", n.Name, port, code)
				}
			}
		}
	}
	check(0, 1)
	first := inSync(t, r.client, "node1").DesiredRevision
	r.label(0, map[string]string{"role": "core"})
	r.label(1, map[string]string{"role": "edge"})
	for _, name := range []string{"node1", "node2"} {
		eventually(t, name+" is told", func() bool { return node(t, r.client, name).DesiredRevision == first+1 })
		inSync(t, r.client, name)
	}
	check(1, 0)
}

// desire writes a document into a node's desired state with a station's
// permission, whoever signed it.
func (r *rig) desire(m message.Message) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: r.URL(), TLS: r.TLS(), Credentials: r.creds("station")})
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	key := subjects.StateKey("node1", handlers.MethodNginxConfig, "nginx")
	if _, err := conn.Put(ctx, subjects.Desired, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
		r.t.Fatal(err)
	}
}

// desired is node1's desired state as it is stored.
func (r *rig) desired() (m message.Message, d nginx.Desired) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	key := subjects.StateKey("node1", handlers.MethodNginxConfig, "nginx")
	e, err := r.client.Conn().Get(ctx, subjects.Desired, key)
	if err != nil {
		r.t.Fatal(err)
	}
	if m, err = e.Message(message.DesiredSubject("node1", handlers.MethodNginxConfig, "nginx")); err != nil {
		r.t.Fatal(err)
	}
	if err = m.Unpack(); err == nil {
		err = json.Unmarshal(m.Body, &d)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return m, d
}

func TestADesiredStateThatIsNoStationsIsRefusedAndWrittenAnew(t *testing.T) {
	for name, forge := range map[string]func(r *rig, old message.Message, d nginx.Desired) message.Message{
		"signed by the administrator": func(r *rig, old message.Message, d nginx.Desired) message.Message {
			return forged(r, old, d, "admin")
		},
		"unsigned": func(r *rig, old message.Message, d nginx.Desired) message.Message {
			m := forged(r, old, d, "admin")
			m.Key, m.Signature = "", ""
			return m
		},
		"an older one of a station, as it was": func(_ *rig, old message.Message, _ nginx.Desired) message.Message { return old },
	} {
		for _, when := range []string{"while a station runs", "while none runs"} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 1)
				st := r.station()
				r.agent(0)
				succeeds(t, r.client, set(t, site("s", "", 8080, "first")), false)
				old, _ := r.desired()
				succeeds(t, r.client, set(t, site("s", "", 8080, "second")), false)
				succeeds(t, r.client, set(t, site("s", "", 8080, "good")), false)
				_, d := r.desired()
				if when == "while none runs" {
					st.stop(t)
				}
				r.desire(forge(r, old, d))
				if when == "while none runs" {
					r.station()
				}
				eventually(t, "the desired state is written anew", func() bool {
					m, now := r.desired()
					return m.From == "station" && now.Revision > d.Revision && now.Digest == d.Digest
				})
				inSync(t, r.client, "node1")
				serves(t, r.nodes[0].Address, 8080, "good")
				succeeds(t, r.client, set(t, site("s", "", 8080, "better")), false)
				serves(t, r.nodes[0].Address, 8080, "better")
			})
		}
	}
}

// forged is a desired state that serves something else, of the next revision.
func forged(r *rig, old message.Message, d nginx.Desired, signer string) message.Message {
	s := set(r.t, site("s", "", 8080, "evil"))
	bundle, err := nginx.Render(d.Address, s.Resources())
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := json.Marshal(nginx.Desired{Revision: d.Revision + 1, Digest: bundle.Digest, Address: d.Address, Resources: s.Resources(), At: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	m := message.Message{Subject: old.Subject, ID: message.NewID(), From: signer, Body: body}
	if err := m.Sign(r.creds(signer)); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func TestOfTwoPlansFromTheSameStateTheSecondIsRefusedWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	r.agent(0)
	succeeds(t, r.client, set(t, site("a", "", 8080, "one")), false)
	ctx, cancel := patient(t)
	defer cancel()
	first, err := r.client.Plan(ctx, set(t, site("a", "", 8080, "two")+"---\n"+site("b", "", 8081, "two")), false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.client.Plan(ctx, set(t, site("c", "", 8082, "three")+"---\n"+site("a", "", 8080, "three")+"---\n"+site("d", "", 8083, "three")), false)
	if err != nil {
		t.Fatal(err)
	}
	removal, err := r.client.Plan(ctx, set(t, site("a", "", 8080, "one")), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Apply(ctx, first); err != nil {
		t.Fatal(err)
	}
	for _, late := range []client.Plan{second, removal, first} {
		_, err := r.client.Apply(ctx, late)
		kindIs(t, err, fleet.Conflict)
	}
	all, err := r.client.Resources(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, x := range all {
		ids = append(ids, x.ID())
	}
	if want := []string{"VirtualHost/a", "VirtualHost/b"}; !slices.Equal(ids, want) {
		t.Errorf("stored are %q", ids)
	}
	inSync(t, r.client, "node1")
	eventually(t, "the first is served", func() bool { _, body := get(r.nodes[0].Address, 8080); return body == "two" })
}
