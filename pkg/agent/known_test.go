package agent_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// asking counts questions for desired states on a link that is not encrypted.
type asking struct {
	net.Conn
	asked *atomic.Int64
}

func (c asking) Write(p []byte) (int, error) {
	c.asked.Add(int64(bytes.Count(p, []byte("$JS.API.DIRECT.GET.KV_desired."))))
	return c.Conn.Write(p)
}

// dear counts what a node's link carries and what it asks for.
type dear struct {
	carried atomic.Uint64
	asked   atomic.Int64
}

func (d *dear) config(c *agent.Config) {
	dial := dialCarrying(&d.carried)
	c.Dial = func(network, address string) (net.Conn, error) {
		conn, err := dial(network, address)
		return asking{conn, &d.asked}, err
	}
}

func TestADesiredStateIsReadOnceUntilAnotherIsToldOf(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	var link dear
	a, _ := n.run(t, link.config)
	ctx, cancel := patient(t)
	defer cancel()
	content := func(document []byte) string {
		var d struct {
			Content string `json:"content"`
		}
		_ = json.Unmarshal(document, &d)
		return d.Content
	}
	if _, err := a.Known(ctx, work, "x"); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("where there is none: %v", err)
	}
	for revision, text := range []string{"first", "second"} {
		n.desire(t, "station", uint64(revision+1), text)
		eventually(t, "the node knows it", func() bool {
			document, err := a.Known(ctx, work, "x")
			return err == nil && content(document) == text
		})
		// What it syncs for may be news, so it asks a few times at the beginning.
		eventually(t, "it asks no more", func() bool {
			before := link.asked.Load()
			for range 20 {
				if _, err := a.Known(ctx, work, "x"); err != nil {
					t.Fatal(err)
				}
			}
			return link.asked.Load() == before
		})
	}
	// What a nudge says may be news too.
	before := link.asked.Load()
	conn, err := bus.Connect(ctx, bus.Options{URL: n.url, Credentials: n.creds(t, "station")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Tell(subjects.Nudge(n.name), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it asks again", func() bool {
		_, err := a.Known(ctx, work, "x")
		return err == nil && link.asked.Load() > before
	})
}

func TestANodeIsToldOfADesiredStateWithoutItsText(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	var link dear
	a, _ := n.run(t, link.config)
	ctx, cancel := patient(t)
	defer cancel()
	// Letters in no order, so that nothing packs them.
	random := rand.New(rand.NewPCG(1, 2))
	text := strings.Map(func(rune) rune { return 'a' + random.Int32N(26) }, strings.Repeat("x", 200<<10))
	before := link.carried.Load()
	n.desire(t, "station", 1, text)
	eventually(t, "the node knows it", func() bool {
		_, err := a.Known(ctx, work, "x")
		return err == nil
	})
	if got := link.carried.Load() - before; got > 300<<10 {
		t.Errorf("%d bytes were carried for a text of %d", got, len(text))
	}
}
