package station_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// ruler signs trust sets for the test, with alice's key.
type ruler struct {
	*site
	set   message.TrustSet
	lists [][]byte // of revoked nodes
}

// ruled is a site whose stations begin with a set of the ruler's.
func ruled(t *testing.T) *ruler {
	t.Helper()
	s := open(t)
	set, err := message.OpenTrust(s.trust)
	if err != nil {
		t.Fatal(err)
	}
	r := &ruler{site: s, set: set}
	r.set.Signers = []string{s.users["alice"].Key}
	s.trust = r.next(nil)
	return r
}

// next signs the set, changed, as its next version.
func (r *ruler) next(change func(*message.TrustSet)) message.Message {
	r.t.Helper()
	r.set.Version++
	r.set.Keys, r.set.Revoked = slices.Clone(r.set.Keys), slices.Clone(r.set.Revoked)
	if change != nil {
		change(&r.set)
	}
	m, err := message.SignTrust(r.set, r.users["alice"])
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// tell stores the next version, and waits until the stations believe it.
func (r *ruler) tell(change func(*message.TrustSet), stations ...*station.Station) {
	r.t.Helper()
	if err := r.conn("alice", subjects.Admin).PutTrust(within(r.t), r.next(change), r.lists...); err != nil {
		r.t.Fatal(err)
	}
	for _, st := range stations {
		r.believes(st, r.set.Version)
	}
}

func (r *ruler) believes(st *station.Station, version uint64) {
	r.t.Helper()
	ctx := within(r.t)
	for {
		changed := st.Trust().Changed()
		if st.Trust().Current().Version == version {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			r.t.Fatalf("trust set %d is believed, want %d", st.Trust().Current().Version, version)
		}
	}
}

// revoked takes a key back at a moment.
func revoked(c *identity.Credentials, at time.Time) func(*message.TrustSet) {
	return func(s *message.TrustSet) {
		k := message.RevokedKey{Key: c.Key, Name: c.Name, Role: c.Role, At: at, Reason: "left"}
		for i, t := range s.Keys {
			if t.Key == c.Key {
				k.Methods, k.Nodes = t.Methods, t.Nodes
				s.Keys = slices.Delete(s.Keys, i, i+1)
				break
			}
		}
		s.Revoked = append(s.Revoked, k)
	}
}

// revokedNode takes a node's key back at a moment.
func (r *ruler) revokedNode(name string, at time.Time) func(*message.TrustSet) {
	r.lists = [][]byte{message.EncodeRevoked([]message.RevokedKey{{Key: r.creds(name, subjects.Node).Key, At: at, Reason: "stolen"}})}
	return func(s *message.TrustSet) { s.RevokedNodes = []string{message.HashRevoked(r.lists[0])} }
}

// stored is the trust set that lies in the bucket, its version 0 where none does.
func (r *ruler) stored() (m message.Message, version uint64) {
	r.t.Helper()
	e, err := r.conn("alice", subjects.Admin).Get(within(r.t), subjects.Trust, subjects.TrustKey)
	if fleet.KindOf(err) == fleet.Unknown {
		return m, 0
	}
	if err == nil {
		m, err = e.Message(message.TrustSubject())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	set, err := message.OpenTrust(m)
	if err != nil {
		return m, 0
	}
	return m, set.Version
}

// digests are a node's desired state now, for comparison.
func (r *ruler) digest(node string) string {
	r.t.Helper()
	d, _ := r.desired(node)
	return d.Digest
}

func TestWhatSomebodyWroteStandsWhenTheirKeyIsTakenBack(t *testing.T) {
	r := ruled(t)
	st, stop := r.run(nil)
	r.nodes(nil, "ship1")
	olga := r.users["olga"]
	r.compiled(r.resource(host("site", "", "olga's"), olga))
	before := r.digest("ship1")
	r.tell(revoked(olga, time.Now()), st)
	later := r.resource(host("site", "", "olga's, later"), olga)
	r.compiled(later)
	if got := r.digest("ship1"); got != before {
		t.Error("what she wrote afterwards is believed")
	}
	stop()
	r.station(nil) // which reads everything anew, and begins with the set of before
	r.compiled(later)
	if got := r.digest("ship1"); got != before {
		t.Error("a new station sees it differently")
	}
}

func TestWhatWasWrittenSinceAKeyWasLostIsNotBelieved(t *testing.T) {
	r := ruled(t)
	st, stop := r.run(nil)
	r.nodes(nil, "ship1", "ship2")
	r.apply(host("site", "", "alice's"))
	good := r.digest("ship1")
	lost := time.Now()
	bob := r.creds("bob", subjects.Admin)
	r.tell(func(s *message.TrustSet) {
		s.Keys = append(s.Keys, message.TrustedKey{Key: bob.Key, Name: "bob", Role: subjects.Admin, Methods: []string{"*"}})
	}, st)
	bad := r.resource(host("site", "", "the thief's"), bob)
	r.compiled(bad)
	if r.digest("ship1") == good {
		t.Fatal("bob's resource is not believed")
	}
	entry := station.NodeRecord{Name: "ship2", Key: r.creds("thief", subjects.Node).Key, Since: time.Now()}
	body, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	r.put("alice", subjects.Admin, subjects.Nodes, "ship2", message.RegisterSubject("ship2"), body, bob, nil)
	eventually(t, "bob's entry of the register is believed", func() bool { return r.node("ship2").Key == entry.Key })

	r.tell(revoked(bob, lost), st)
	eventually(t, "alice's resource serves again", func() bool { return r.digest("ship1") == good })
	eventually(t, "ship2 has its own key again", func() bool { return r.node("ship2").Key == r.users["ship2"].Key })
	stop()
	r.station(nil)
	r.compiled(bad)
	if r.digest("ship1") != good || r.node("ship2").Key != r.users["ship2"].Key {
		t.Error("a new station sees it differently")
	}
}

func TestWhatWasIgnoredIsBelievedOnceItsWriterIs(t *testing.T) {
	r := ruled(t)
	st, _ := r.run(nil)
	r.nodes(nil, "ship1")
	mallory := r.users[untrusted]
	r.compiled(r.resource(host("site", "", "x"), mallory))
	body, err := json.Marshal(station.NodeRecord{Name: "ship2", Key: r.creds("ship2", subjects.Node).Key, Since: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	r.put("alice", subjects.Admin, subjects.Nodes, "ship2", message.RegisterSubject("ship2"), body, mallory, nil)
	if _, has := r.desired("ship1"); has {
		t.Fatal("a stranger's resource is believed")
	}
	r.tell(func(s *message.TrustSet) {
		s.Keys = append(s.Keys, message.TrustedKey{Key: mallory.Key, Name: untrusted, Role: subjects.Admin, Methods: []string{"*"}})
	}, st)
	for _, node := range []string{"ship1", "ship2"} {
		eventually(t, node+" is compiled", func() bool { _, has := r.desired(node); return has })
	}
}

func TestWhoIsLimitedToNodesOrOtherMethodsWritesNoResource(t *testing.T) {
	r := ruled(t)
	limit := func(methods []string, nodes ...string) func(*message.TrustSet) {
		return func(s *message.TrustSet) {
			for i, k := range s.Keys {
				if k.Name == "olga" {
					s.Keys[i].Methods, s.Keys[i].Nodes = methods, nodes
				}
			}
		}
	}
	st, _ := r.run(nil)
	r.nodes(nil, "ship1")
	olga := r.users["olga"]
	for _, limited := range []func(*message.TrustSet){
		limit([]string{handlers.MethodNginxConfig}, message.HashNode(r.set.Account, "ship1")), limit([]string{handlers.MethodReload}),
	} {
		r.tell(limited, st)
		r.compiled(r.resource(host("site", "", "x"), olga))
		if d, has := r.desired("ship1"); has {
			t.Errorf("ship1 is to be %+v", d)
		}
	}
	r.tell(limit([]string{handlers.MethodReload, handlers.MethodNginxConfig}), st)
	eventually(t, "who may is believed", func() bool { _, has := r.desired("ship1"); return has })
}

func TestAStationStoresTheNewestTrustSetAndReadsIt(t *testing.T) {
	r := ruled(t)
	first := r.trust
	st, stop := r.run(nil)
	if _, version := r.stored(); version != r.set.Version {
		t.Fatalf("trust set %d is stored", version)
	}
	r.tell(nil, st)
	stop()
	newer := r.next(nil) // of a file, with which the next station starts
	other, _ := r.run(func(c *station.Config) { c.Trust = newer })
	if m, version := r.stored(); m.Signature != newer.Signature {
		t.Errorf("trust set %d is stored", version)
	}
	behind, _ := r.run(func(c *station.Config) { c.Trust = first; c.Credentials = r.users["station-b"] })
	r.believes(behind, r.set.Version)
	for name, bad := range map[string]message.Message{"an old one": first, "nothing": {Operation: bus.Delete}, "rubbish": {Body: []byte("x")}} {
		if _, err := r.conn("alice", subjects.Admin).Put(within(t), subjects.Trust, bus.Change{Key: subjects.TrustKey, Document: bad, Expect: bus.Any}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the newest is stored in the place of "+name, func() bool { m, _ := r.stored(); return m.Signature == newer.Signature })
	}
	for _, st := range []*station.Station{other, behind} {
		r.believes(st, r.set.Version)
	}
}

func TestADesiredStateOfAStationThatIsRevokedIsWrittenAnew(t *testing.T) {
	r := ruled(t)
	stop := r.station(nil)
	r.nodes(nil, "ship1")
	r.apply(host("site", "", "x"))
	before, _ := r.desired("ship1")
	stop()
	st, _ := r.run(func(c *station.Config) { c.Credentials = r.users["station-b"] })
	r.tell(revoked(r.users["station-a"], time.Now()), st)
	eventually(t, "another station has signed it", func() bool {
		e, err := r.conn("alice", subjects.Admin).Get(within(t), subjects.Desired, subjects.StateKey("ship1", handlers.MethodNginxConfig, "nginx"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.Message(message.DesiredSubject("ship1", handlers.MethodNginxConfig, "nginx"))
		return err == nil && m.CheckSignature() == nil && m.Key == r.users["station-b"].Key
	})
	if d, _ := r.desired("ship1"); d.Revision != before.Revision+1 || d.Digest != before.Digest {
		t.Errorf("ship1 is to be %+v, was to be %+v", d, before)
	}
}

func TestANodeWhoseKeyIsTakenBackIsNotBelievedAndGetsNothingNew(t *testing.T) {
	r := ruled(t)
	st, _ := r.run(nil)
	r.nodes(nil, "ship1", "ship2")
	r.apply(host("site", "", "x"))
	before := r.digest("ship1")
	said := func(node string) uint64 { return r.node(node).Reported.Revision }
	for _, node := range []string{"ship1", "ship2"} {
		r.report(node, handlers.Reported{Revision: 1, ObservedRevision: 1})
		eventually(t, node+" is believed", func() bool { return said(node) == 1 })
	}
	r.tell(r.revokedNode("ship1", time.Now()), st)
	eventually(t, "the station knows which nodes were revoked", func() bool { return len(st.Trust().Missing()) == 0 })
	for _, node := range []string{"ship1", "ship2"} { // in this order, so that the first was read when the second is known
		r.report(node, handlers.Reported{Revision: 7})
	}
	eventually(t, "ship2 is believed", func() bool { return said("ship2") == 7 })
	if got := said("ship1"); got != 1 {
		t.Errorf("ship1 is believed to have tried revision %d", got)
	}
	r.apply(host("site", "", "y"))
	if r.digest("ship1") != before || r.digest("ship2") == before {
		t.Error("ship1 gets what is new, or ship2 does not")
	}
	if got := r.node("ship1"); got.Sync != station.Unfit || !strings.Contains(got.Message, "the key of the node was revoked on ") {
		t.Errorf("it is told as %s: %s", got.Sync, got.Message)
	}
}

// Else who holds a stolen key and the broker could go back to before it was
// revoked.
func TestAStationServesOnceItKnowsWhichNodesWereRevoked(t *testing.T) {
	r := ruled(t)
	first, stop := r.run(nil)
	r.tell(r.revokedNode("ship1", time.Now()), first)
	eventually(t, "the list is read", func() bool { return len(first.Trust().Missing()) == 0 })
	stop()
	admin := r.conn("alice", subjects.Admin)
	for range 5 { // more than the bucket keeps
		if _, err := admin.Put(within(t), subjects.Revoked, bus.Change{Key: subjects.RevokedKey(0), Document: message.Message{Body: []byte("[]")}, Expect: bus.Any}); err != nil {
			t.Fatal(err)
		}
	}
	said := make(lines, 1000)
	cfg := r.config()
	cfg.Logger = slog.New(slog.NewTextHandler(said, nil))
	st, err := station.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for why := ""; !strings.Contains(why, "list 0 of revoked nodes is not stored as the trust set names it: `fairlead tenant push`"); {
		select {
		case why = <-said:
		case <-st.Ready():
			t.Fatal("it serves")
		case <-within(t).Done():
			t.Fatal("it does not say why it does not serve")
		}
	}
	m, _ := r.stored()
	if err := admin.PutTrust(within(t), m); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("a set is stored again without its list: %v", err)
	}
	if err := admin.PutTrust(within(t), m, r.lists...); err != nil { // as `tenant push` does
		t.Fatal(err)
	}
	select {
	case <-st.Ready():
	case <-within(t).Done():
		t.Fatal("it does not serve")
	}
	if owner, _ := st.Trust().Find(r.users["ship1"].Key); owner.Why == "" {
		t.Error("ship1 is not revoked")
	}
	// One that is given the list needs nobody to store it.
	given := r.config()
	given.Revoked = append(r.lists, []byte("[]")) // and one of another set
	given.Trust = m
	with, err := station.New(given)
	if err != nil || len(with.Trust().Missing()) > 0 {
		t.Error(err)
	}
}

// lines are what is logged, as far as there is room.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}
