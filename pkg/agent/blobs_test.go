package agent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// pushedDir is where an agent of the tests takes files.
func pushedDir(state string) string { return filepath.Join(state, "pushed") }

var contents atomic.Uint64

// newFile is a file of so many parts that nobody has seen before, and how the
// broker keeps it.
func (s *system) newFile(t *testing.T, parts int) ([]byte, client.File) {
	t.Helper()
	text := make([]byte, parts*message.BlobPart-11)
	_, _ = rand.NewChaCha8([32]byte{byte(contents.Add(1))}).Read(text)
	ctx, cancel := patient(t)
	defer cancel()
	f, err := s.client.Store(ctx, bytes.NewReader(text), int64(len(text)), client.StoreOptions{For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return text, f
}

// push is the command that has the node fetch a file.
func (n *node) push(t *testing.T, f client.File, path string) client.Command {
	t.Helper()
	if err := os.MkdirAll(pushedDir(n.state), 0o755); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(handlers.FilePushBody{List: f.List, Digest: f.Digest, Size: f.Size, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return client.Command{Subject: n.subject(handlers.MethodFilePush, "files"), Body: body}
}

// has holds the node to a file, and to having kept no part of it elsewhere.
func (n *node) has(t *testing.T, path string, text []byte) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(pushedDir(n.state), path)); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%s has %d bytes, %v; want %d", path, len(got), err, len(text))
	}
	if left, _ := filepath.Glob(filepath.Join(n.state, "files", "*")); len(left) > 0 {
		t.Errorf("parts are left in %q", left)
	}
}

// fetched is how many bytes of a file the node has.
func (n *node) fetched(f client.File) int64 {
	info, err := os.Stat(filepath.Join(n.state, "files", f.List))
	if err != nil {
		return 0
	}
	return info.Size()
}

func TestAPushedFileComesToNodesThatAreThereAndToThoseThatReturn(t *testing.T) {
	t.Parallel()
	s := sharedSystem(t)
	text, f := s.newFile(t, 5)
	here, away := s.newNode(t), s.newNode(t)
	here.start(t, nil)
	id := away.send(t, away.push(t, f, "x"))[0]
	if _, end := here.do(t, here.push(t, f, "x")); end.State != message.Succeeded || !end.Changed {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	here.has(t, "x", text)
	away.start(t, nil)
	if end := away.end(t, id); end.State != message.Succeeded || !end.Changed {
		t.Errorf("after the return it ended %s: %s", end.State, end.Message)
	}
	away.has(t, "x", text)
	if _, end := here.do(t, here.push(t, f, "x")); end.State != message.Succeeded || end.Changed {
		t.Errorf("again it ended %s: %s", end.State, end.Message)
	}
}

func TestAfterAKillInTheMiddleOnlyTheRestIsFetched(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	const parts, kept = 24, 15
	text, f := n.newFile(t, parts)
	p := spawn(t, child{Part: "agent", Dir: n.dir(), URL: n.url, Node: n.name, State: n.state, KillAt: agent.PointPart, KillAfter: kept - 1})
	id := n.send(t, n.push(t, f, "x"))[0]
	p.killed(t)
	if have := n.fetched(f); have != kept*message.BlobPart {
		t.Fatalf("%d bytes are kept, want %d parts", have, kept)
	}
	var carried atomic.Uint64
	n.start(t, func(c *agent.Config) { c.Dial = dialCarrying(&carried) })
	if end := n.end(t, id); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	n.has(t, "x", text)
	if rest := carried.Load(); rest > (parts-kept+1)*message.BlobPart {
		t.Errorf("%d bytes were carried for %d parts that lacked", rest, parts-kept)
	}
	n.wellAfter(t)
}

// What was written beside a file's place goes, and nothing that others made.
func TestAfterAKillWhileAFileIsPlacedNothingOfItIsLeftBesideItsPlace(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	_, f := n.newFile(t, 2)
	p := spawn(t, child{Part: "agent", Dir: n.dir(), URL: n.url, Node: n.name, State: n.state, KillAt: agent.PointPlacing})
	id := n.send(t, n.push(t, f, "www/x"))[0]
	p.killed(t)
	www := filepath.Join(pushedDir(n.state), "www")
	left, err := filepath.Glob(filepath.Join(www, ".fairlead-*.part"))
	if err != nil || len(left) != 1 {
		t.Fatalf("beside its place lie %q, %v", left, err)
	}
	others := filepath.Join(www, ".fairlead-0123456789abcdef.part")
	if err := os.WriteFile(others, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The command does not run again, so it cannot be what removes that.
	by := n.send(t, n.cancel(handlers.MethodFilePush, id))[0]
	n.start(t, nil)
	if end := n.end(t, id); end.State != message.Cancelled || end.By != by {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
	if there, _ := filepath.Glob(filepath.Join(www, "*")); !slices.Equal(there, []string{others}) {
		t.Errorf("there are %q", there)
	}
	if notes, _ := filepath.Glob(filepath.Join(n.state, "files", "placing-*")); len(notes) > 0 {
		t.Errorf("notes are left: %q", notes)
	}
}

// A power cut leaves a part that was not written, or half of it.
func TestAPartThatWasNotWrittenIsFetchedAgain(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	text, f := n.newFile(t, 4)
	kept := bytes.Clone(text[:3*message.BlobPart-100])
	kept[message.BlobPart+5]++
	command := n.push(t, f, "x")
	if err := os.MkdirAll(filepath.Join(n.state, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.state, "files", f.List), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t, nil)
	if _, end := n.do(t, command); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	n.has(t, "x", text)
}

// cut is a link that breaks once, after so many bytes.
type cut struct {
	net.Conn
	left *atomic.Int64
}

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if left := c.left.Add(-int64(n)); left < 0 && left+int64(n) >= 0 {
		_ = c.Conn.Close()
	}
	return n, err
}

func TestFetchingGoesOnAfterABreakOfTheLink(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	const parts = 32
	text, f := n.newFile(t, parts)
	var carried atomic.Uint64
	var left atomic.Int64
	left.Store(20 * message.BlobPart)
	dial := dialCarrying(&carried)
	n.start(t, func(c *agent.Config) {
		c.Dial = func(network, address string) (net.Conn, error) {
			conn, err := dial(network, address)
			return cut{conn, &left}, err
		}
	})
	if _, end := n.do(t, n.push(t, f, "x")); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	n.has(t, "x", text)
	if left.Load() >= 0 {
		t.Error("the link did not break")
	}
	if got := carried.Load(); got > (parts+10)*message.BlobPart { // and those that were under way
		t.Errorf("%d bytes were carried for %d parts", got, parts)
	}
}

func TestAPartThatSomebodyForgedIsNotTaken(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	_, f := n.newFile(t, 3)
	ctx, cancel := patient(t)
	defer cancel()
	p, err := n.client.Conn().PutBlob(f.Parts.At(1), []byte("forged"), time.Hour)
	if err == nil {
		err = p.Wait(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.start(t, nil)
	_, end := n.do(t, n.push(t, f, "x"))
	if end.State != message.FailedEnd || !strings.Contains(end.Message, "part 2 of 3") || !strings.Contains(end.Message, "--whole") {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	if left, _ := os.ReadDir(pushedDir(n.state)); len(left) > 0 {
		t.Errorf("the directory holds %v", left)
	}
	f.List = message.Digest([]byte("nothing that anybody stored"))
	if _, end := n.do(t, n.push(t, f, "x")); end.State != message.FailedEnd || !strings.Contains(end.Message, "does not have") {
		t.Errorf("what is not there ended %s: %s", end.State, end.Message)
	}
}

// slowly is a link over which a file of many parts takes long.
func slowly(c *agent.Config) { c.Budget = 1 << 20 }

func TestAFetchThatRunsCanBeCalledOff(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	_, f := n.newFile(t, 160)
	n.start(t, slowly)
	command := n.push(t, f, "x")
	id := n.send(t, command)[0]
	eventually(t, "a part is there", func() bool { return n.fetched(f) > 0 })
	body, _ := json.Marshal(handlers.CancelBody{ID: id})
	_, end := n.do(t, client.Command{Subject: n.subject(subjects.MethodCancel, handlers.MethodFilePush), Body: body})
	if end.State != message.Succeeded {
		t.Errorf("calling it off ended %s: %s", end.State, end.Message)
	}
	if end := n.end(t, id); end.State != message.Cancelled || end.Kind != fleet.Cancelled {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
	n.wellAfter(t)
}

func TestAFetchEndsWithItsCommandAndKeepsWhatCame(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	_, f := n.newFile(t, 160)
	n.start(t, slowly)
	command := n.push(t, f, "x")
	command.Expires = 2 * time.Second
	id := n.send(t, command)[0]
	over := time.Now().Add(command.Expires)
	eventually(t, "a part is there, or the time is over", func() bool { return n.fetched(f) > 0 || time.Now().After(over) })
	came := n.fetched(f) > 0
	end := n.end(t, id)
	if end.State != message.Expired {
		t.Errorf("it ended %s: %s", end.State, end.Message)
	}
	if came && n.fetched(f) == 0 {
		t.Error("nothing is kept of what came")
	}
}

func TestWhatNobodyAsksForAnyMoreMakesRoomForANewFile(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	text, f := n.newFile(t, 2)
	n.start(t, nil)
	command := n.push(t, f, "x")
	old := filepath.Join(n.state, "files", message.Digest([]byte("old")))
	at := time.Now().Add(-subjects.MaxCommandAge - time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(old), 0o700), os.WriteFile(old, nil, 0o600), os.Chtimes(old, at, at)); err != nil {
		t.Fatal(err)
	}
	if _, end := n.do(t, command); end.State != message.Succeeded {
		t.Errorf("ended %s: %s", end.State, end.Message)
	}
	n.has(t, "x", text)
}
