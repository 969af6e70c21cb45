package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// states makes desired states of resources that nothing packs.
type states struct {
	revision uint64
	pieces   []message.Piece
	made     int
}

func newStates(resources int) *states {
	s := &states{}
	for i := range resources {
		s.pieces = append(s.pieces, message.Piece{ID: fmt.Sprintf("host-%04d", i)})
		s.change(i)
	}
	return s
}

// change makes one resource another.
func (s *states) change(i int) {
	s.made++
	random := rand.New(rand.NewPCG(uint64(i), uint64(s.made)))
	letters := strings.Map(func(rune) rune { return 'a' + random.Int32N(26) }, strings.Repeat("x", 1000))
	s.pieces[i].Text = fmt.Appendf(nil, `{"name":%q,"text":%q}`, s.pieces[i].ID, letters)
}

func (s *states) clone() *states { return &states{s.revision, slices.Clone(s.pieces), s.made} }

// next is the next revision and its parts.
func (s *states) next(t *testing.T) (document map[string]any, list message.PartList, parts [][]byte) {
	t.Helper()
	list, parts, err := message.Cut(s.pieces)
	if err != nil {
		t.Fatal(err)
	}
	s.revision++
	return map[string]any{"revision": s.revision, "parts": list}, list, parts
}

// desire stores the next revision and returns how many parts it has.
func (s *states) desire(t *testing.T, n *node) int {
	t.Helper()
	document, _, parts := s.next(t)
	n.desireThis(t, "station", document, parts)
	return len(parts)
}

// is holds a document to being the newest revision, whole.
func (s *states) is(t *testing.T, document []byte, err error) {
	t.Helper()
	var d struct {
		Revision  uint64
		Resources []json.RawMessage
	}
	if err == nil {
		err = json.Unmarshal(document, &d)
	}
	if err != nil || d.Revision != s.revision || len(d.Resources) != len(s.pieces) {
		t.Fatalf("revision %d of %d resources, want %d of %d: %v", d.Revision, len(d.Resources), s.revision, len(s.pieces), err)
	}
	for i, r := range d.Resources {
		if !bytes.Equal(r, s.pieces[i].Text) {
			t.Fatalf("resource %d is another", i)
		}
	}
}

// partsOf are the names of the parts that the node has on disk.
func (n *node) partsOf() (names []string) {
	paths, _ := filepath.Glob(filepath.Join(n.state, "desired", work+".x", "*"))
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

// forge stores something in the place of a part.
func (n *node) forge(t *testing.T, key, content string) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: n.url, Credentials: n.creds(t, "station")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Put(ctx, subjects.Desired, bus.Change{Key: key, Document: message.Message{Body: []byte(content)}, Expect: bus.Any}); err != nil {
		t.Fatal(err)
	}
}

// forParts matches the subject of a question for a part.
var forParts = regexp.MustCompile(`GET\.KV_desired\.\$KV\.desired\.[^. ]+\.work\.x\.`)

// fetching counts questions for parts on a link that is not encrypted.
type fetching struct {
	net.Conn
	asked *atomic.Int64
}

func (c fetching) Write(p []byte) (int, error) {
	c.asked.Add(int64(len(forParts.FindAll(p, -1))))
	return c.Conn.Write(p)
}

func countingParts(asked *atomic.Int64) func(*agent.Config) {
	return func(c *agent.Config) {
		c.Dial = func(network, address string) (net.Conn, error) {
			conn, err := net.Dial(network, address)
			return fetching{conn, asked}, err
		}
	}
}

func TestOnlyThePartsThatChangedAreFetched(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	var asked atomic.Int64
	a, stop := n.run(t, countingParts(&asked))
	s := newStates(600)
	parts := s.desire(t, n)
	if _, end := n.do(t, n.command(desired, "x", "")); end.State != message.Succeeded {
		t.Fatalf("ended %s: %s", end.State, end.Message)
	}
	document, err := a.Desired(t.Context(), work, "x")
	s.is(t, document, err)
	if got := asked.Load(); parts < 10 || got != int64(parts) {
		t.Errorf("%d parts were asked for, of %d", got, parts)
	}
	s.change(300)
	parts = s.desire(t, n)
	if _, end := n.do(t, n.command(desired, "x", "")); end.State != message.Succeeded {
		t.Fatalf("ended %s: %s", end.State, end.Message)
	}
	document, err = a.Desired(t.Context(), work, "x")
	s.is(t, document, err)
	if got := asked.Load(); got != int64(parts)+1 {
		t.Errorf("%d parts were asked for in all, of %d and one that changed", got, parts)
	}
	if got := n.partsOf(); len(got) != parts {
		t.Errorf("%d parts are on disk, of %d", len(got), parts)
	}
	// One that is small again is one message, and needs no parts.
	stop()
	s.revision++
	n.desire(t, "station", s.revision, "whole")
	a, _ = n.run(t, nil)
	eventually(t, "it is read", func() bool {
		document, err := a.Desired(t.Context(), work, "x")
		return err == nil && strings.Contains(string(document), "whole")
	})
	if got := n.partsOf(); len(got) > 0 {
		t.Errorf("%d parts are left", len(got))
	}
}

func TestAfterAKillTheRestOfADesiredStateIsFetched(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	s := newStates(600)
	parts := s.desire(t, n)
	const kept = 7
	p := spawn(t, child{Part: "agent", Dir: n.dir(), URL: n.url, Node: n.name, State: n.state, KillAt: agent.PointPart, KillAfter: kept - 1})
	id := n.send(t, n.command(desired, "x", ""))[0]
	p.killed(t)
	if have := n.partsOf(); len(have) != kept {
		t.Fatalf("%d parts are kept, want %d", len(have), kept)
	}
	var asked atomic.Int64
	a, _ := n.run(t, countingParts(&asked))
	if end := n.end(t, id); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	document, err := a.Desired(t.Context(), work, "x")
	s.is(t, document, err)
	if got := asked.Load(); got != int64(parts-kept) {
		t.Errorf("%d parts were asked for, of %d that lacked", got, parts-kept)
	}
	n.wellAfter(t)
}

func TestADesiredStateComesWholeAlthoughTheLinkBreaks(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	s := newStates(600)
	parts := s.desire(t, n)
	var asked, left atomic.Int64
	left.Store(300 << 10)
	a, _ := n.run(t, func(c *agent.Config) {
		countingParts(&asked)(c)
		dial := c.Dial
		c.Dial = func(network, address string) (net.Conn, error) {
			conn, err := dial(network, address)
			return cut{conn, &left}, err
		}
	})
	if _, end := n.do(t, n.command(desired, "x", "")); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	document, err := a.Desired(t.Context(), work, "x")
	s.is(t, document, err)
	if left.Load() >= 0 {
		t.Error("the link did not break")
	}
	if got := asked.Load(); got > int64(parts)+10 { // and those that were under way
		t.Errorf("%d parts were asked for, of %d", got, parts)
	}
}

func TestWithoutALinkADesiredStateInPartsIsReadFromDisk(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	s := newStates(200)
	s.desire(t, n)
	p := newProxy(t, n.url)
	through := func(c *agent.Config) { c.URL = p.url() }
	stop := n.start(t, through)
	n.do(t, n.command(desired, "x", ""))
	stop()
	p.cut()
	has := s.clone()
	s.change(100)
	s.desire(t, n)
	a, _ := n.run(t, through)
	document, err := a.Desired(t.Context(), work, "x")
	has.is(t, document, err)
	p.heal()
	if _, end := n.do(t, n.command(desired, "x", "")); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	document, err = a.Desired(t.Context(), work, "x")
	s.is(t, document, err)
}

// What lacks holds nothing up but the commands that ask for it.
func TestUntilAllPartsAreThereTheStateBeforeCounts(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	a, _ := n.run(t, nil)
	s := newStates(300)
	s.desire(t, n)
	n.do(t, n.command(desired, "x", ""))
	before := s.clone()
	s.change(100)
	document, list, parts := s.next(t)
	had := n.partsOf()
	var lacks [][]byte
	for i, part := range parts {
		if !strings.Contains(strings.Join(had, " "), list.Digests.At(i)) {
			lacks = append(lacks, part)
		}
	}
	if len(lacks) != 1 {
		t.Fatalf("%d parts are new", len(lacks))
	}
	n.desireThis(t, "station", document, nil) // without the part
	older := n.send(t, n.command(desired, "x", ""))[0]
	if _, end := n.do(t, n.command(serial, "x", "")); end.State != message.Succeeded { // of the same lane, behind it
		t.Errorf("another command ended %s: %s", end.State, end.Message)
	}
	body, err := a.Desired(t.Context(), work, "x")
	before.is(t, body, err)
	// The newest of several alone waits, and one that waits can be called off.
	newer := n.send(t, n.command(desired, "x", ""))[0]
	if end := n.end(t, older); end.State != message.Superseded || end.By != newer {
		t.Errorf("the older command ended %s: %s", end.State, end.Message)
	}
	off, _ := json.Marshal(handlers.CancelBody{ID: newer})
	eventually(t, "it has looked, waits, and is called off", func() bool {
		_, end := n.do(t, client.Command{Subject: n.subject(subjects.MethodCancel, desired), Body: off})
		return end.State == message.Succeeded
	})
	if end := n.end(t, newer); end.State != message.Cancelled || end.Kind != fleet.Cancelled {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
	last := n.send(t, n.command(desired, "x", ""))[0]
	n.desireThis(t, "station", document, [][]byte{lacks[0]})
	if end := n.end(t, last); end.State != message.Succeeded {
		t.Errorf("the last ended %s: %s", end.State, end.Message)
	}
	body, err = a.Desired(t.Context(), work, "x")
	s.is(t, body, err)
	n.wellAfter(t)
}

func TestAPartThatIsSomethingElseIsNotTaken(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	a, _ := n.run(t, nil)
	s := newStates(100)
	document, list, parts := s.next(t)
	n.desireThis(t, "station", document, parts[:len(parts)-1])
	n.forge(t, subjects.PartKey(subjects.StateKey(n.name, work, "x"), list.Digests.At(len(parts)-1)), "forged")
	id := n.send(t, n.command(desired, "x", ""))[0]
	eventually(t, "all but the forged one are there", func() bool { return len(n.partsOf()) == len(parts)-1 })
	if _, err := a.Desired(t.Context(), work, "x"); err == nil {
		t.Error("a state is given that is not whole")
	}
	s.change(0) // as a station does that sees it
	s.desire(t, n)
	if end := n.end(t, id); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	body, err := a.Desired(t.Context(), work, "x")
	s.is(t, body, err)
}

func TestAPartThatTheDiskLostIsFetchedAgain(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	a, _ := n.run(t, nil)
	s := newStates(200)
	s.desire(t, n)
	n.do(t, n.command(desired, "x", ""))
	for i, name := range n.partsOf() {
		path := filepath.Join(n.state, "desired", work+".x", name)
		var err error
		switch i {
		case 0:
			err = os.Truncate(path, 10)
		case 1:
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, end := n.do(t, n.command(desired, "x", "")); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	body, err := a.Desired(t.Context(), work, "x")
	s.is(t, body, err)
}
