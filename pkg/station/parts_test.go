package station_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// letters are some that nothing packs; another seed gives others.
func letters(seed uint64, n int) string {
	random := rand.New(rand.NewPCG(seed, 1))
	return strings.Map(func(rune) rune { return 'a' + random.Int32N(26) }, strings.Repeat("x", n))
}

// many are so many hosts.
func many(n int) (all []fleet.Resource) {
	for i := range n {
		all = append(all, host(fmt.Sprintf("shop-%04d", i), "", letters(uint64(i), 500)))
	}
	return all
}

// step writes resources as alice, all in one step, and waits until they are compiled.
func (s *site) step(resources ...fleet.Resource) {
	s.t.Helper()
	alice := s.users["alice"]
	var changes []bus.Change
	for _, r := range resources {
		body, err := json.Marshal(r)
		if err != nil {
			s.t.Fatal(err)
		}
		m := message.Message{Subject: message.ResourceSubject(r.Kind, r.Metadata.Name), ID: message.NewID(), From: "alice", Body: body}
		if err := m.Sign(alice); err != nil {
			s.t.Fatal(err)
		}
		changes = append(changes, bus.Change{Key: subjects.ResourceKey(r.Kind, r.Metadata.Name), Document: m, Expect: bus.Any})
	}
	sequence, err := s.conn("alice", subjects.Admin).PutAll(within(s.t), subjects.Fleet, changes)
	if err != nil {
		s.t.Fatal(err)
	}
	s.compiled(sequence)
}

// document is a node's desired state as it is stored, and how large that is.
func (s *site) document(name string) (list *message.PartList, bytes int) {
	s.t.Helper()
	e, err := s.client.Conn().Get(within(s.t), subjects.Desired, desiredKey(name))
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := e.Plain(message.DesiredSubject(name, "nginxconfig", "nginx"))
	if err == nil {
		list, err = message.PartsOf(text)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return list, len(e.Body)
}

// stored are the digests of a node's parts at the broker, sorted.
func (s *site) stored(name string) (digests []string) {
	s.t.Helper()
	err := s.client.Conn().Entries(within(s.t), subjects.Desired, subjects.PartKey(desiredKey(name), "*"), func(e bus.Entry) error {
		digests = append(digests, strings.TrimPrefix(e.Key, subjects.PartKey(desiredKey(name), "")))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(digests)
	return digests
}

// partsOfAll matches the parts of all nodes.
var partsOfAll = subjects.KeySubject(subjects.Desired, subjects.PartKey(desiredKey("*"), "*"))

func digestsOf(list *message.PartList) (all []string) {
	if list == nil {
		return nil
	}
	for i := range list.Digests.Count() {
		all = append(all, list.Digests.At(i))
	}
	slices.Sort(all)
	return all
}

// hasAll holds a node's desired state to a revision with these resources.
func (s *site) hasAll(name string, revision uint64, want []fleet.Resource) {
	s.t.Helper()
	d, ok := s.desired(name)
	if !ok || d.Revision != revision || len(d.Resources) != len(want) {
		s.t.Fatalf("%s has revision %d of %d resources, want %d of %d", name, d.Revision, len(d.Resources), revision, len(want))
	}
	for i, r := range d.Resources {
		x, _ := json.Marshal(r.Spec.(*fleet.VirtualHost).Locations)
		y, _ := json.Marshal(want[i].Spec.(*fleet.VirtualHost).Locations)
		if r.ID() != want[i].ID() || string(x) != string(y) {
			s.t.Fatalf("%s has another %s", name, want[i].ID())
		}
	}
}

func TestAChangeOfOneHostOfManyIsOnePartAndAShortDocument(t *testing.T) {
	s := running(t)
	s.nodes(nil, "ship1")
	hosts := many(900)
	s.step(hosts...)
	s.hasAll("ship1", 1, hosts)
	before, size := s.document("ship1")
	if before == nil || before.Resources != 900 || before.Digests.Count() < 8 || size > 2000 {
		t.Fatalf("a document of %d bytes with %+v", size, before)
	}
	if got := s.stored("ship1"); !slices.Equal(got, digestsOf(before)) {
		t.Errorf("%d parts are stored and %d named", len(got), before.Digests.Count())
	}
	hosts[450] = host("shop-0450", "", "another")
	s.apply(hosts[450])
	s.hasAll("ship1", 2, hosts)
	after, size := s.document("ship1")
	fresh := slices.DeleteFunc(digestsOf(after), func(digest string) bool { return slices.Contains(digestsOf(before), digest) })
	if len(fresh) != 1 || size > 2000 {
		t.Errorf("%d parts of %d are new, by a document of %d bytes", len(fresh), after.Digests.Count(), size)
	}
	if all := s.items(subjects.BucketStream(subjects.Desired), partsOfAll); len(all) != before.Digests.Count()+1 {
		t.Errorf("%d parts were written, of %d", len(all), before.Digests.Count()+1)
	}
	if d, _ := s.desired("ship1"); d.By != "alice" || d.Cause == 0 {
		t.Errorf("it is by %q, for revision %d", d.By, d.Cause)
	}
	if got := s.node("ship1").Desired.Resources; len(got) != 900 {
		t.Errorf("the station tells of %d resources", len(got))
	}
	history, err := s.client.NodeHistory(within(t), "ship1")
	if err != nil || len(history) != 2 || history[0].Resources != 900 || len(history[1].Changes) != 1 || history[1].Changes[0].Resource != "VirtualHost/shop-0450" {
		t.Errorf("the history is %+v, %v", history, err)
	}
}

func TestPartsThatNoDocumentNamesAreRemoved(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.PartsAfter = time.Millisecond })
	s.nodes(nil, "ship1", "ship2")
	hosts := many(100)
	s.step(hosts...)
	orphan := []byte("of a station that was killed before it wrote the document")
	if err := s.conn("station-a", subjects.Station).PutParts(within(t), desiredKey("ship1"), [][]byte{orphan}); err != nil {
		t.Fatal(err)
	}
	hosts[7] = host("shop-0007", "", "another")
	s.apply(hosts[7])
	// So short a time may be over before the document is written that names a part;
	// then all of them are written once more.
	var d nginx.Desired
	eventually(t, "what nobody names is gone", func() (whole bool) {
		list, _ := s.document("ship1")
		d, whole = s.desired("ship1")
		return whole && d.Revision > 1 && slices.Equal(s.stored("ship1"), digestsOf(list))
	})
	s.hasAll("ship1", d.Revision, hosts)
	if _, err := s.client.RemoveNode(within(t), "ship2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what a removed node had is gone", func() bool { return len(s.stored("ship2")) == 0 })
	if len(s.stored("ship1")) < 2 {
		t.Error("what another node has is gone too")
	}
	s.nodes(nil, "ship2")
	eventually(t, "it is written anew for one of that name", func() bool { d, ok := s.desired("ship2"); return ok && len(d.Resources) == len(hosts) })
	for _, h := range hosts[5:] {
		s.put("alice", subjects.Admin, subjects.Fleet, subjects.ResourceKey(h.Kind, h.Metadata.Name), message.ResourceSubject(h.Kind, h.Metadata.Name),
			nil, s.users["alice"], func(m *message.Message) { m.Operation = bus.Delete })
	}
	eventually(t, "few hosts are one message", func() bool { list, _ := s.document("ship1"); return list == nil && len(s.stored("ship1")) == 0 })
	eventually(t, "they are whole", func() bool { d, _ := s.desired("ship1"); return len(d.Resources) == 5 })
}

func TestAPartThatSomebodyWroteOverIsWrittenAnew(t *testing.T) {
	s := open(t)
	looking := func(c *station.Config) { c.PartsAfter = 500 * time.Millisecond }
	stop := s.station(looking)
	s.nodes(nil, "ship1")
	hosts := many(100)
	s.step(hosts...)
	conn := s.conn("station-a", subjects.Station)
	spoil := map[string]func(key string) error{
		"rubbish": func(key string) error {
			_, err := conn.Put(within(t), subjects.Desired, bus.Change{Key: key, Document: message.Message{Body: []byte("rubbish")}, Expect: bus.Any})
			return err
		},
		"a removal": func(key string) error {
			e, err := conn.Get(within(t), subjects.Desired, key)
			if err == nil {
				err = conn.DropParts(within(t), []bus.StoredPart{{Key: key, Sequence: e.Sequence}})
			}
			return err
		},
	}
	revision := uint64(1)
	for _, away := range []bool{false, true} {
		for what, write := range spoil {
			list, _ := s.document("ship1")
			if away {
				stop()
			}
			if err := write(subjects.PartKey(desiredKey("ship1"), list.Digests.At(1))); err != nil {
				t.Fatal(err)
			}
			if away {
				stop = s.station(looking)
			}
			before := revision
			eventually(t, what+" is mended", func() bool { revision = s.revision("ship1"); return revision > before })
			s.hasAll("ship1", revision, hosts)
		}
	}
	eventually(t, "all stays as it is", func() bool { s.apply(host("other", "kind=none", "x")); return s.revision("ship1") == revision })
}

func TestAPartThatSomebodyWroteOverBeforeItWasNamedIsWrittenAnew(t *testing.T) {
	s := running(t)
	names := []string{"ship1", "ship2", "ship3", "ship4", "ship5", "ship6"}
	s.nodes(nil, names...)
	conn, first := s.conn("station-a", subjects.Station), make(map[string]bool)
	ctx, cancel := context.WithCancel(within(t))
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() { // over the first part of each node as soon as it is stored
		defer close(ended)
		options := bus.ReadOptions{Filter: partsOfAll, Follow: true, Bare: true, CaughtUp: func() { close(ready) }}
		_ = conn.Read(ctx, subjects.BucketStream(subjects.Desired), options, func(i bus.Item) error {
			key := subjects.KeyOfSubject(subjects.Desired, i.Subject)
			if name, _, _ := strings.Cut(key, "."); !first[name] {
				first[name] = true
				if _, err := conn.Put(ctx, subjects.Desired, bus.Change{Key: key, Document: message.Message{Body: []byte("rubbish")}, Expect: bus.Any}); err != nil {
					t.Error(err)
				}
			}
			if len(first) == len(names) {
				cancel()
			}
			return nil
		})
	}()
	<-ready
	hosts := many(300)
	s.step(hosts...)
	<-ended
	for _, name := range names {
		eventually(t, name+" has all of them", func() bool { d, ok := s.desired(name); return ok && len(d.Resources) == len(hosts) })
	}
}

func TestAPlanIsMadeAlthoughTheStateOfANodeIsSpoiled(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1", "ship2")
	s.step(many(100)...)
	stop()
	list, _ := s.document("ship1")
	key, conn := subjects.PartKey(desiredKey("ship1"), list.Digests.At(0)), s.conn("station-a", subjects.Station)
	for what, spoil := range map[string]func() error{
		"rubbish": func() error {
			_, err := conn.Put(within(t), subjects.Desired, bus.Change{Key: key, Document: message.Message{Body: []byte("rubbish")}, Expect: bus.Any})
			return err
		},
		"nothing": func() error {
			e, err := conn.Get(within(t), subjects.Desired, key)
			if err == nil {
				err = conn.DropParts(within(t), []bus.StoredPart{{Key: key, Sequence: e.Sequence}})
			}
			return err
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		plan, err := s.client.Plan(within(t), manifest.Of(host("shop-0007", "", "another")), false)
		if err != nil || len(plan.Nodes) != 1 || len(plan.Nodes[0].Nodes) != 2 {
			t.Errorf("%s in the place of a part: %+v, %v", what, plan.Nodes, err)
		}
	}
}

func TestAStationThatStartsKnowsWhatPartsSay(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(nil, "ship1")
	hosts := many(100)
	s.step(hosts...)
	before := s.partsWritten()
	stop()
	s.station(nil)
	second := s.station(nil)
	if got := s.node("ship1").Desired.Resources; len(got) != 100 {
		t.Errorf("it knows %d resources", len(got))
	}
	hosts[70] = host("shop-0070", "", "another")
	s.apply(hosts[70])
	s.hasAll("ship1", 2, hosts)
	second()
	history, err := s.client.NodeHistory(within(t), "ship1")
	if err != nil || len(history) != 2 || len(history[1].Changes) != 1 || history[1].By != "alice" {
		t.Errorf("the history is %+v, %v", history, err)
	}
	// Either station may write what is another now, and again when the other was first.
	after := s.partsWritten()
	for part, times := range before {
		if after[part] != times {
			t.Errorf("a part that nobody changed was written %d times after %d", after[part], times)
		}
	}
	if len(after) != len(before)+1 {
		t.Errorf("there were %d parts, and one change made it %d", len(before), len(after))
	}
}

// partsWritten is how often each part was written, by its subject.
func (s *site) partsWritten() map[string]int {
	s.t.Helper()
	times := make(map[string]int)
	for _, i := range s.items(subjects.BucketStream(subjects.Desired), partsOfAll) {
		times[i.Subject]++
	}
	return times
}

func TestWhatIsTooLargeForANodeIsToldBeforeItIsWritten(t *testing.T) {
	var hosts []fleet.Resource
	var locations []fleet.Location
	for i := range 16 {
		locations = append(locations, fleet.Location{Path: fmt.Sprintf("/%d/", i), Return: &fleet.Return{Code: 200, Text: letters(1, 4000)}})
	}
	for i := range 540 {
		h := host(fmt.Sprint("shop", i), "", "")
		h.Spec.(*fleet.VirtualHost).Locations = locations
		hosts = append(hosts, h)
	}
	plans, err := station.Compile(hosts, []station.NodeRecord{{Name: "ship1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := plans[0].Err; err == nil || !strings.Contains(err.Error(), "there would be 33 MiB of them, and a node can take 32") {
		t.Errorf("%v", err)
	}
}
