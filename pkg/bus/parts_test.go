package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// The keys of two nodes' desired states.
var one, two = subjects.StateKey("ship1", "nginxconfig", "nginx"), subjects.StateKey("ship2", "nginxconfig", "nginx")

// inParts is a document in parts, and those.
func inParts(t *testing.T, resources int) (document []byte, list message.PartList, parts [][]byte) {
	t.Helper()
	var pieces []message.Piece
	for i := range resources {
		pieces = append(pieces, message.Piece{ID: fmt.Sprint(i), Text: fmt.Appendf(nil, "%q", strings.Repeat(fmt.Sprint(i), 1000))})
	}
	list, parts, err := message.Cut(pieces)
	if err == nil {
		document, err = json.Marshal(map[string]any{"revision": 1, "parts": list})
	}
	if err != nil {
		t.Fatal(err)
	}
	return document, list, parts
}

func TestADesiredStateInPartsIsReadWhole(t *testing.T) {
	s := open(t)
	station, ship := s.station(), s.node("ship1")
	document, list, parts := inParts(t, 300)
	if err := station.PutParts(within(t), one, parts); err != nil {
		t.Fatal(err)
	}
	for i := range parts {
		if got, err := ship.Part(within(t), one, list.Digests.At(i)); err != nil || string(got) != string(parts[i]) {
			t.Errorf("part %d: %d bytes, %v", i, len(got), err)
		}
	}
	whole, err := s.admin().Whole(within(t), one, document)
	var d struct{ Resources []string }
	if err == nil {
		err = json.Unmarshal(whole, &d)
	}
	if err != nil || len(d.Resources) != 300 {
		t.Errorf("%d resources, %v", len(d.Resources), err)
	}
	if _, err := station.Whole(within(t), two, document); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("another node's: %v", err)
	}
	if got, err := station.Whole(within(t), "ship1", []byte(`{"revision":1}`)); err != nil || string(got) != `{"revision":1}` {
		t.Errorf("what is whole: %s, %v", got, err)
	}
}

func TestAPartIsRemovedUnlessItWasStoredAgain(t *testing.T) {
	s := open(t)
	station, ship := s.station(), s.node("ship1")
	document, list, parts := inParts(t, 1)
	key := subjects.PartKey(one, list.Digests.At(0))
	var sequences []uint64
	for range 2 {
		if err := station.PutParts(within(t), one, parts); err != nil {
			t.Fatal(err)
		}
		e, err := station.Get(within(t), subjects.Desired, key)
		if err != nil {
			t.Fatal(err)
		}
		sequences = append(sequences, e.Sequence)
	}
	for i, there := range []bool{true, false} {
		if err := station.DropParts(within(t), []bus.StoredPart{{Key: key, Sequence: sequences[i]}}); err != nil {
			t.Fatal(err)
		}
		if _, err := ship.Part(within(t), one, list.Digests.At(0)); (err == nil) != there || err != nil && fleet.KindOf(err) != fleet.Unknown {
			t.Errorf("removed as it was at first, or as it is: %v, %v", i, err)
		}
	}
	if _, err := station.Whole(within(t), one, document); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("what lacks a part: %v", err)
	}
}

func TestANodeIsToldOfItsDesiredStateAndNotOfParts(t *testing.T) {
	s := open(t)
	station, ship := s.station(), s.node("ship1")
	shown := make(chan string, 10)
	if _, err := ship.Listen(subjects.DesiredShown("ship1"), func(subject string, _ []byte) { shown <- subject }); err != nil {
		t.Fatal(err)
	}
	flush(t, ship)
	_, _, parts := inParts(t, 300)
	if err := station.PutParts(within(t), one, parts); err != nil {
		t.Fatal(err)
	}
	if _, err := station.Put(within(t), subjects.Desired, s.desired("ship1")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, shown); got != "live.desired."+one {
		t.Errorf("it heard %s first", got)
	}
}

func TestNoNodeReadsOrWritesPartsOfAnother(t *testing.T) {
	s := open(t)
	_, list, parts := inParts(t, 1)
	if err := s.station().PutParts(within(t), two, parts); err != nil {
		t.Fatal(err)
	}
	digest := list.Digests.At(0)
	for name, do := range map[string]func(ctx context.Context, c *bus.Conn) error{
		"read it":  func(ctx context.Context, c *bus.Conn) error { _, err := c.Part(ctx, two, digest); return err },
		"read any": func(ctx context.Context, c *bus.Conn) error { _, err := c.Part(ctx, two, "*"); return err },
		"read anybody's": func(ctx context.Context, c *bus.Conn) error {
			_, err := c.Part(ctx, subjects.StateKey("*", "nginxconfig", "nginx"), digest)
			return err
		},
		"read many": func(ctx context.Context, c *bus.Conn) error {
			return c.KeysAt(ctx, subjects.Desired, []string{subjects.PartKey(two, digest)}, bus.Moment{}, func(bus.Entry) {})
		},
		"watch them": func(ctx context.Context, c *bus.Conn) error {
			return c.Entries(ctx, subjects.Desired, ">", func(bus.Entry) error { return nil })
		},
		"write one":       func(ctx context.Context, c *bus.Conn) error { return c.PutParts(ctx, two, parts) },
		"write one's own": func(ctx context.Context, c *bus.Conn) error { return c.PutParts(ctx, one, parts) },
		"remove one": func(ctx context.Context, c *bus.Conn) error {
			return c.DropParts(ctx, []bus.StoredPart{{Key: subjects.PartKey(two, digest), Sequence: 1}})
		},
		"remove one's own": func(ctx context.Context, c *bus.Conn) error {
			return c.DropParts(ctx, []bus.StoredPart{{Key: subjects.PartKey(one, digest), Sequence: 1}})
		},
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, "ship1", do) })
	}
	if got, err := s.node("ship2").Part(within(t), two, digest); err != nil || string(got) != string(parts[0]) {
		t.Errorf("its own node reads %d bytes, %v", len(got), err)
	}
}
