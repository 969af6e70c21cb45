package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// trustSet is version after version of a trust set; each is signed by the first
// of the signers that the one before it named.
type trustSet struct {
	s      *site
	set    message.TrustSet
	signer string
}

func (s *site) trustSet() *trustSet {
	t := &trustSet{s: s, signer: "signer-1"}
	t.set = message.TrustSet{Account: s.authority.TenantAccount(), IssuedAt: time.Now(), Signers: []string{t.key("signer-1")}, Keys: []message.TrustedKey{}}
	return t
}

func (t *trustSet) key(name string) string { return t.s.credentials(name, subjects.Viewer).Key }

func (t *trustSet) next(change func(*message.TrustSet)) message.Message {
	t.s.t.Helper()
	t.set.Version++
	if change != nil {
		change(&t.set)
	}
	m, err := message.SignTrust(t.set, t.s.credentials(t.signer, subjects.Viewer))
	if err != nil {
		t.s.t.Fatal(err)
	}
	return m
}

// rotate names another signer, which signs from the version after that on.
func (t *trustSet) rotate(to string) message.Message {
	t.s.t.Helper()
	m := t.next(func(s *message.TrustSet) { s.Signers = []string{t.key(to)} })
	t.signer = to
	return m
}

func keeper(t *testing.T, pinned message.Message) *message.TrustKeeper {
	t.Helper()
	k, err := message.NewTrustKeeper(pinned, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func putTrust(t *testing.T, c *bus.Conn, all ...message.Message) {
	t.Helper()
	for _, m := range all {
		if err := c.PutTrust(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
}

// force writes what it is told, as who has the permission can.
func force(t *testing.T, c *bus.Conn, m message.Message) {
	t.Helper()
	if _, err := c.Put(within(t), subjects.Trust, bus.Change{Key: subjects.TrustKey, Document: m, Expect: bus.Any}); err != nil {
		t.Fatal(err)
	}
}

func believes(t *testing.T, k *message.TrustKeeper, version uint64) {
	t.Helper()
	if got := k.Current().Version; got != version {
		t.Errorf("trust set %d is believed, want %d", got, version)
	}
}

func TestANodeReadsTheNewestTrustSet(t *testing.T) {
	s := open(t)
	sets, station, ship1 := s.trustSet(), s.station(), s.node("ship1")
	k := keeper(t, sets.next(nil))
	if err := ship1.NewestTrust(within(t), k); err != nil { // nothing is stored
		t.Error(err)
	}
	if _, err := station.StoredTrust(within(t)); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("nothing is stored: %v", err)
	}
	sets.next(nil)
	third := sets.next(nil)
	putTrust(t, station, third)
	if m, err := station.StoredTrust(within(t)); err != nil || m.Signature != third.Signature {
		t.Errorf("stored is %s, %v", m.Body, err)
	}
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Error(err)
	}
	believes(t, k, 3)
}

func TestANodeThatWasAwayForSeveralChangesOfSignersFollowsThem(t *testing.T) {
	s := open(t)
	sets, station, ship1 := s.trustSet(), s.station(), s.node("ship1")
	k := keeper(t, sets.next(nil))
	putTrust(t, station, sets.next(nil), sets.rotate("signer-2"))
	for range 20 { // more than one question brings
		putTrust(t, station, sets.next(nil))
	}
	putTrust(t, station, sets.rotate("signer-3"), sets.next(nil))
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Error(err)
	}
	believes(t, k, 25)
}

func TestWhatIsForgedOrOldInTheBucketIsIgnored(t *testing.T) {
	s := open(t)
	sets, admin, ship1 := s.trustSet(), s.admin(), s.node("ship1")
	first := sets.next(nil)
	k := keeper(t, first)
	second := sets.next(nil)
	putTrust(t, admin, second)
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Fatal(err)
	}
	mallory := s.trustSet()
	mallory.signer, mallory.set.Version = "mallory", 40
	forged := mallory.next(func(s *message.TrustSet) { s.Signers = []string{mallory.key("mallory")} })
	unsigned := second
	unsigned.Signature = ""
	for name, m := range map[string]message.Message{
		"forged": forged, "old": first, "unsigned": unsigned, "rubbish": {Body: []byte("x")},
		"deleted": {Operation: bus.Delete},
	} {
		t.Run(name, func(t *testing.T) {
			force(t, admin, m)
			if err := ship1.NewestTrust(within(t), k); err != nil {
				t.Error(err)
			}
			if name != "old" { // the good one is found behind it
				fresh := keeper(t, first)
				if err := ship1.NewestTrust(within(t), fresh); err != nil {
					t.Error(err)
				}
				believes(t, fresh, 2)
			}
			believes(t, k, 2)
			putTrust(t, admin, second) // in the place of what could not follow
		})
	}
	third := sets.next(nil)
	force(t, admin, forged)
	putTrust(t, admin, third)
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Error(err)
	}
	believes(t, k, 3)
	for _, older := range []message.Message{first, second} {
		if err := admin.PutTrust(within(t), older); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("an older trust set takes the place of a newer one: %v", err)
		}
	}
}

func TestATrustSetIsHeardWhenItIsStored(t *testing.T) {
	s := open(t)
	sets, station, ship1 := s.trustSet(), s.station(), s.node("ship1")
	k := keeper(t, sets.next(nil))
	accepted := make(chan uint64, 8)
	follow := func() *bus.Subscription {
		sub, err := ship1.FollowTrust(k, func() { accepted <- k.Current().Version })
		if err != nil {
			t.Fatal(err)
		}
		flush(t, ship1)
		return sub
	}
	sub := follow()
	putTrust(t, station, sets.next(nil))
	if got := next(t, accepted); got != 2 {
		t.Errorf("heard trust set %d", got)
	}
	sub.Stop()
	putTrust(t, station, sets.rotate("signer-2"))
	follow()
	putTrust(t, station, sets.next(nil)) // leads from what was not heard
	if got := next(t, accepted); got != 4 {
		t.Errorf("heard trust set %d", got)
	}
}

func TestANodeReadsTheTrustBucketAndWritesNothingThere(t *testing.T) {
	s := open(t)
	sets, station, ship1 := s.trustSet(), s.station(), s.node("ship1")
	first := sets.next(nil)
	putTrust(t, station, first)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := ship1.PutTrust(ctx, sets.next(nil)); err == nil {
		t.Error("a node wrote a trust set")
	}
	k := keeper(t, first)
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Error(err)
	}
	believes(t, k, 1)
}

// Whoever may store anything can have JetStream say it again where the trust set
// lies. Of what looks like a word of the broker's the client library makes that
// nobody answers; nodes that cannot read the trust set take no command.
func TestWhatLooksLikeAWordOfTheBrokerHidesNothing(t *testing.T) {
	s := open(t)
	sets, c := s.trustSet(), s.admin()
	first := sets.next(nil)
	second := sets.next(nil)
	putTrust(t, c, second)
	nc := s.foreign("alice", subjects.Admin)
	for _, status := range []string{"503", "404", "204"} {
		for range 2 { // the newest, and among the older ones
			m := nats.NewMsg(subjects.KeySubject(subjects.Trust, subjects.TrustKey))
			m.Header.Set("Status", status)
			if reply, err := nc.RequestMsgWithContext(within(t), m); err != nil || strings.Contains(string(reply.Data), "error") {
				t.Fatal(string(reply.Data), err)
			}
		}
		k := keeper(t, first)
		if err := s.node("ship1").NewestTrust(within(t), k); err != nil {
			t.Errorf("%s: %v", status, err)
		}
		believes(t, k, 2)
		if e, err := c.Get(within(t), subjects.Trust, subjects.TrustKey); err != nil || len(e.Body) > 0 {
			t.Errorf("%s: %q, %v", status, e.Body, err)
		}
	}
	putTrust(t, c, second) // and it can be put right
	if m, err := c.StoredTrust(within(t)); err != nil || m.Signature != second.Signature {
		t.Error("the trust set is not there again:", err)
	}
	if _, err := c.CopiedUpTo(within(t), "NOWHERE", ">"); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("a stream that is not there: %v", err)
	}
}

// overhearing counts what the broker answers a node, in messages and bytes.
type overhearing struct {
	t        *testing.T
	sub      *nats.Subscription
	messages int
	bytes    int
}

func (s *site) overhear(node string) *overhearing {
	s.t.Helper()
	nc := s.foreign(node, subjects.Node)
	sub, err := nc.SubscribeSync(subjects.NodeInbox(node) + ".>")
	if err == nil {
		err = errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return &overhearing{t: s.t, sub: sub}
}

// since are the answers since the last call, once there are as many.
func (o *overhearing) since(least int) (messages, bytes int) {
	o.t.Helper()
	limit := within(o.t)
	for {
		m, err := o.sub.NextMsg(20 * time.Millisecond)
		switch {
		case err == nil:
			messages, bytes = messages+1, bytes+m.Size()
		case messages >= least:
			return messages, bytes
		case limit.Err() != nil:
			o.t.Fatalf("%d answers, want %d", messages, least)
		}
	}
}

func TestANodeReadsATrustSetOnce(t *testing.T) {
	s := open(t)
	connected := make(chan struct{}, 10)
	sets, admin := s.trustSet(), s.admin()
	ship1 := s.connect(bus.Options{Credentials: s.credentials("ship1", subjects.Node), OnConnect: func() { connected <- struct{}{} }})
	next(t, connected)
	first := sets.next(nil)
	big := sets.next(func(set *message.TrustSet) {
		for i := range 200 {
			user, err := nkeys.CreateUser()
			if err != nil {
				t.Fatal(err)
			}
			key, err := user.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			set.Keys = append(set.Keys, message.TrustedKey{Key: key, Name: fmt.Sprint("user", i), Role: subjects.Viewer, Methods: []string{}})
		}
	})
	putTrust(t, admin, big)
	k, heard := keeper(t, first), s.overhear("ship1")
	read := func(what string, least, mostMessages, mostBytes int) {
		t.Helper()
		if err := ship1.NewestTrust(within(t), k); err != nil {
			t.Fatal(err)
		}
		if messages, bytes := heard.since(least); messages > mostMessages || bytes > mostBytes {
			t.Errorf("%s: %d answers of %d bytes, want at most %d and %d", what, messages, bytes, mostMessages, mostBytes)
		} else {
			t.Logf("%s: %d answers, %d bytes; the set has %d", what, messages, bytes, len(big.Body))
		}
	}
	read("at the first time", 1, 1, len(big.Body)+2000)
	believes(t, k, 2)
	read("at the second time", 1, 1, 200)

	// Rubbish, of which each is a reason to look whether something led to it.
	for range 40 {
		force(t, admin, message.Message{Body: make([]byte, 4000)})
	}
	read("behind rubbish", 40, 40+trustQuestions, 40*5000)
	read("behind rubbish that was read", 1, 1, 200)
	for range 2 {
		force(t, admin, message.Message{Body: make([]byte, 4000)})
	}
	read("behind more of it", 2, 2+trustQuestions, 2*5000)
	ship1.Reconnect()
	next(t, connected)
	read("at the next connection", 1, 1, 5000)
	third := sets.next(nil)
	putTrust(t, admin, third)
	read("what is new", 1, 1+trustQuestions, len(third.Body)+2000)
	believes(t, k, 3)
}

// trustQuestions are ends of answers: one for each question, with room.
const trustQuestions = 5

func TestATrustSetThatIsHeardIsNotReadAgain(t *testing.T) {
	s := open(t)
	sets, admin, ship1 := s.trustSet(), s.admin(), s.node("ship1")
	k := keeper(t, sets.next(nil))
	putTrust(t, admin, sets.next(nil))
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 10)
	sub, err := ship1.FollowTrust(k, func() { accepted <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Stop)
	if err := ship1.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	heard := s.overhear("ship1")
	putTrust(t, admin, sets.next(nil))
	next(t, accepted)
	if err := ship1.NewestTrust(within(t), k); err != nil {
		t.Fatal(err)
	}
	if messages, bytes := heard.since(1); messages > 2 || bytes > 400 { // one is the flush's
		t.Errorf("%d answers of %d bytes", messages, bytes)
	}
}
