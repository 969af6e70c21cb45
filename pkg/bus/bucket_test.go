package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// document is a signed one for the fleet bucket.
func (s *site) document(name, body string) message.Message {
	return s.signed("alice", subjects.Admin, message.Message{Subject: message.ResourceSubject("VirtualHost", name), Body: []byte(body)})
}

func (s *site) deletion(name string) message.Message {
	return s.signed("alice", subjects.Admin, message.Message{Subject: message.ResourceSubject("VirtualHost", name), Operation: bus.Delete})
}

func key(name string) string { return subjects.ResourceKey("VirtualHost", name) }

func put(t *testing.T, c *bus.Conn, change bus.Change) uint64 {
	t.Helper()
	sequence, err := c.Put(t.Context(), subjects.Fleet, change)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

func TestAKeyIsReadAsItWasSigned(t *testing.T) {
	s := open(t)
	c := s.admin()
	sequence := put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "one"), Expect: 0})
	e, err := c.Get(t.Context(), subjects.Fleet, key("shop"))
	if err != nil || e.Key != key("shop") || e.Sequence != sequence || e.Deleted || e.At.IsZero() || string(e.Body) != "one" {
		t.Fatalf("read %+v, %v", e, err)
	}
	m, err := e.Message(message.ResourceSubject("VirtualHost", "shop"))
	if err != nil || m.CheckSignature() != nil {
		t.Errorf("the document is %+v: %v, %v", m, err, m.CheckSignature())
	}
	if _, err := c.Get(t.Context(), subjects.Fleet, key("none")); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("no key: %v", err)
	}
}

func TestAKeyChangesOnlyFromTheSequenceThatIsExpected(t *testing.T) {
	s := open(t)
	c := s.admin()
	first := put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "one")})
	put(t, c, bus.Change{Key: key("blog"), Document: s.document("blog", "x")})
	for _, expect := range []uint64{0, first + 1, first + 7} {
		_, err := c.Put(t.Context(), subjects.Fleet, bus.Change{Key: key("shop"), Document: s.document("shop", "two"), Expect: expect})
		if fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("expecting %d: kind %s, %v", expect, fleet.KindOf(err), err)
		}
	}
	second := put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "two"), Expect: first})
	if put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "three"), Expect: bus.Any}) <= second {
		t.Error("the sequence does not grow")
	}
}

func TestADeletedKeyIsUnknownAndKeepsItsHistory(t *testing.T) {
	s := open(t)
	c := s.admin()
	put(t, c, bus.Change{Key: key("blog"), Document: s.document("blog", "x")})
	put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "one")})
	put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "two"), Expect: bus.Any})
	gone := put(t, c, bus.Change{Key: key("shop"), Document: s.deletion("shop"), Expect: bus.Any})

	e, err := c.Get(t.Context(), subjects.Fleet, key("shop"))
	if fleet.KindOf(err) != fleet.Unknown || !e.Deleted || e.Sequence != gone {
		t.Errorf("read %+v, %v", e, err)
	}
	m, err := e.Message(message.ResourceSubject("VirtualHost", "shop"))
	if err != nil || m.Operation != bus.Delete || m.CheckSignature() != nil {
		t.Errorf("the deletion is %+v, %v", m, err)
	}
	var history []string
	collect := func(e bus.Entry) error {
		history = append(history, fmt.Sprintf("%s %s %v", e.Key, e.Body, e.Deleted))
		return nil
	}
	shop, blog := key("shop"), key("blog")
	for _, test := range []struct {
		read func() error
		want []string
	}{
		{func() error { return c.History(within(t), subjects.Fleet, shop, collect) }, []string{shop + " one false", shop + " two false", shop + "  true"}},
		{func() error { return c.Keys(within(t), subjects.Fleet, collect) }, []string{blog + " x false", shop + "  true"}},
		{func() error { return c.Entries(within(t), subjects.Fleet, ">", collect) }, []string{blog + " x false"}},
		{func() error { return c.Entries(within(t), subjects.Fleet, key("shop"), collect) }, nil},
	} {
		history = nil
		if err := test.read(); err != nil || !slices.Equal(history, test.want) {
			t.Errorf("read %q, %v, want %q", history, err, test.want)
		}
	}
	if put(t, c, bus.Change{Key: shop, Document: s.document("shop", "again"), Expect: gone}) <= gone {
		t.Error("a deleted key cannot come back")
	}
}

func TestAWatchSeesWhatIsThereAndThenEveryChange(t *testing.T) {
	s := open(t)
	c := s.admin()
	put(t, c, bus.Change{Key: key("a"), Document: s.document("a", "1")})
	put(t, c, bus.Change{Key: key("a"), Document: s.document("a", "2"), Expect: bus.Any})
	seen, caughtUp := make(chan string, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, subjects.Fleet, func() { close(caughtUp) }, func(e bus.Entry) error {
			seen <- string(e.Body)
			return nil
		})
	}()
	next(t, caughtUp)
	put(t, c, bus.Change{Key: key("a"), Document: s.document("a", "3"), Expect: bus.Any})
	put(t, c, bus.Change{Key: key("b"), Document: s.document("b", "4")})
	for _, want := range []string{"2", "3", "4"} {
		if got := next(t, seen); got != want {
			t.Errorf("saw %s, want %s", got, want)
		}
	}
	cancel()
	if err := next(t, ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// `Nats-Rollup: all` would let whoever may write one key remove all others.
func TestWritingAKeyCannotRemoveOthers(t *testing.T) {
	s := open(t)
	c := s.admin()
	put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "one")})
	nc := s.foreign("bob", subjects.Operator)
	for _, rollup := range []string{"all", "sub"} {
		msg := nats.NewMsg(subjects.KeySubject(subjects.Fleet, key("blog")))
		msg.Header.Set("Nats-Rollup", rollup)
		if _, err := nc.RequestMsgWithContext(within(t), msg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Get(t.Context(), subjects.Fleet, key("shop")); err != nil {
		t.Error(err)
	}
}

func TestABucketIsReadAsItWas(t *testing.T) {
	s := open(t)
	c := s.admin()
	var one, two uint64
	one = put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "one")})
	var both []bus.Change
	both = append(both, bus.Change{Key: key("shop"), Document: s.document("shop", "two"), Expect: one}, bus.Change{Key: key("blog"), Document: s.document("blog", "x")})
	two, err := c.PutAll(within(t), subjects.Fleet, both)
	if err != nil {
		t.Fatal(err)
	}
	gone := put(t, c, bus.Change{Key: key("shop"), Document: s.deletion("shop"), Expect: two - 1})
	put(t, c, bus.Change{Key: key("shop"), Document: s.document("shop", "again"), Expect: gone})

	var kept []bus.Entry
	if err := c.History(within(t), subjects.Fleet, key("shop"), func(e bus.Entry) error { kept = append(kept, e); return nil }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{0, one, two - 1, gone} {
		if after, ok := kept[i].After(); !ok || after != want {
			t.Errorf("entry %d was written behind %d (%v), want %d", i, after, ok, want)
		}
	}
	read := func(at bus.Moment) string {
		held := map[string]string{}
		err := c.KeysAt(within(t), subjects.Fleet, []string{key("shop"), key("blog"), key("none")}, at, func(e bus.Entry) {
			held[e.Key] = fmt.Sprintf("%s %v", e.Body, e.Deleted)
		})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(held)
	}
	for _, row := range []struct {
		at   bus.Moment
		want string
	}{
		{bus.Moment{Sequence: one}, "map[VirtualHost.shop:one false]"},
		{bus.Moment{Sequence: two}, "map[VirtualHost.blog:x false VirtualHost.shop:two false]"},
		{bus.Moment{Sequence: gone}, "map[VirtualHost.blog:x false VirtualHost.shop: true]"},
		{bus.Moment{}, "map[VirtualHost.blog:x false VirtualHost.shop:again false]"},
		{bus.Moment{Time: kept[0].At}, "map[]"},
		{bus.Moment{Time: kept[1].At}, "map[VirtualHost.shop:one false]"},
		{bus.Moment{Time: kept[3].At}, "map[VirtualHost.blog:x false VirtualHost.shop: true]"},
		{bus.Moment{Time: kept[3].At.Add(time.Hour)}, "map[VirtualHost.blog:x false VirtualHost.shop:again false]"},
	} {
		if got := read(row.at); got != row.want {
			t.Errorf("at %+v: %s, want %s", row.at, got, row.want)
		}
	}
}

func TestEachOfManyKeysIsWrittenForItself(t *testing.T) {
	s := open(t)
	c := s.admin()
	changes := s.creations(600) // more than are under way at once
	put(t, c, bus.Change{Key: changes[7].Key, Document: s.document("h7", "another's")})
	changes[9].Document.Body = bytes.Repeat([]byte("x"), 2<<20)
	told, last := 0, uint64(1)
	c.PutEach(within(t), subjects.Fleet, slices.Values(changes), func(change bus.Change, sequence uint64, err error) {
		if change.Key != changes[told].Key {
			t.Fatalf("told of %s, want %s", change.Key, changes[told].Key)
		}
		want := map[int]fleet.Kind{7: fleet.Conflict, 9: fleet.Invalid}[told]
		switch {
		case want != "":
			if fleet.KindOf(err) != want || sequence != 0 {
				t.Errorf("%s: %d, kind %s, want %s, %v", change.Key, sequence, fleet.KindOf(err), want, err)
			}
		case err != nil || sequence != last+1:
			t.Fatalf("%s: sequence %d behind %d, %v", change.Key, sequence, last, err)
		default:
			last = sequence
		}
		told++
	})
	if told != len(changes) {
		t.Errorf("told of %d keys", told)
	}
	viewer := s.connect(bus.Options{Credentials: s.credentials("bob", subjects.Viewer)})
	viewer.PutEach(within(t), subjects.Fleet, slices.Values(changes[:2]), func(_ bus.Change, _ uint64, err error) {
		if fleet.KindOf(err) != fleet.Refused {
			t.Errorf("who may only look: %v", err)
		}
	})
}

func TestTheLastOfManyLargeOnesComesInParts(t *testing.T) {
	s := open(t)
	c := s.admin()
	const count = 20
	var keys []string
	var middle uint64
	for i := range count {
		keys = append(keys, key(fmt.Sprintf("h%d", i)))
		middle = put(t, c, bus.Change{Key: keys[i], Document: s.document(fmt.Sprintf("h%d", i), strings.Repeat("x", 700<<10))})
	}
	put(t, c, bus.Change{Key: keys[3], Document: s.document("h3", "newer"), Expect: 4})
	for at, want := range map[bus.Moment]uint64{{}: count + 1, {Sequence: middle}: 4} {
		seen := make(map[string]uint64)
		if err := c.KeysAt(within(t), subjects.Fleet, keys, at, func(e bus.Entry) { seen[e.Key] = e.Sequence }); err != nil || len(seen) != count {
			t.Errorf("%d of %d keys, %v", len(seen), count, err)
		}
		if got := seen[keys[3]]; got != want {
			t.Errorf("%+v: sequence %d, want %d", at, got, want)
		}
	}
	last, err := c.LastBefore(within(t), subjects.BucketStream(subjects.Fleet), subjects.KeySubject(subjects.Fleet, keys[3]), count+1)
	if err != nil || last == nil || last.Sequence != 4 {
		t.Errorf("the one before: %+v, %v", last, err)
	}
	if last, err = c.LastBefore(within(t), subjects.BucketStream(subjects.Fleet), subjects.KeySubject(subjects.Fleet, keys[3]), 4); err != nil || last != nil {
		t.Errorf("before all: %+v, %v", last, err)
	}
}
