package agent_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestWithoutAStationANodeReadsItsMailboxItself(t *testing.T) {
	t.Parallel()
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	stop := s.stationHere(t, t.Cleanup, nil) // makes the streams
	s.connect(t, t.Cleanup)
	n := s.newNode(t)
	stop()
	ids := n.send(t, repeated(n.command(work, "x", ""), 300)...)
	halt := n.start(t, nil)
	for i, end := range n.ends(t, ids...) {
		if end.State != message.Succeeded {
			t.Errorf("command %d ended %s: %s", i, end.State, end.Message)
		}
	}
	if runs := n.runs(t); strings.Join(runs, " ") != strings.Join(ids, " ") {
		t.Errorf("%d commands ran %d times or in another order", len(ids), len(runs))
	}
	n.wellAfter(t)
	// A second start finds them all in the mailbox still.
	halt()
	n.start(t, nil)
	n.wellAfter(t)
	if runs := n.runs(t); len(runs) != len(ids)+2 {
		t.Errorf("%d commands ran %d times", len(ids)+2, len(runs))
	}
	s.stationHere(t, t.Cleanup, nil)
	n.cleared(t, message.Message{Subject: n.subject(work, "x"), ID: ids[299]})
	n.wellAfter(t)
}

func TestADamagedJournalIsSetAsideAndCommandsAreStillAnsweredOnce(t *testing.T) {
	t.Parallel()
	s := ownSystem(t)
	s.brokerHere(t, t.Cleanup)
	stop := s.stationHere(t, t.Cleanup, nil)
	s.connect(t, t.Cleanup)
	n := s.newNode(t)
	stop() // so that what ended stays in the mailbox, the worst case
	halt := n.start(t, nil)
	ids := n.send(t, n.command(work, "x", ""), n.command(durable, "x", ""), n.command(work, "y", ""))
	n.ends(t, ids...)
	halt()
	path := filepath.Join(n.state, "journal.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data, bytes.Repeat([]byte{0xa5}, len(data)/2))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, n.send(t, n.command(work, "x", ""), n.command(durable, "x", ""))...)
	n.start(t, nil)
	n.ends(t, ids...)
	s.stationHere(t, t.Cleanup, nil)
	ended := n.wellAfter(t)
	for _, id := range ids {
		if end := ended[id]; end.State != message.Succeeded || !n.made(t, id) {
			t.Errorf("%s ended %s: %s", id, end.State, end.Message)
		}
	}
	if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
		t.Errorf("set aside: %q", aside)
	}
	for _, l := range n.lifecycle(t) {
		if l.Event == message.LifecycleRecovered && strings.Contains(l.Message, path) {
			return
		}
	}
	t.Error("nobody was told")
}

// desire writes a desired document of a revision into the bucket, as whoever
// signs it; only a station has the permission to write there.
func (n *node) desire(t *testing.T, signer string, revision uint64, content string) {
	t.Helper()
	n.desireThis(t, signer, map[string]any{"revision": revision, "content": content}, nil)
}

// desireThis stores parts, and a document as somebody signs it.
func (n *node) desireThis(t *testing.T, signer string, document map[string]any, parts [][]byte) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: n.url, Credentials: n.creds(t, "station")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.PutParts(ctx, subjects.StateKey(n.name, work, "x"), parts); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	m := message.Message{Subject: message.DesiredSubject(n.name, work, "x"), ID: message.NewID(), From: signer, Body: body}
	if signer != "" {
		if err := m.Sign(n.creds(t, signer)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Put(ctx, subjects.Desired, bus.Change{Key: subjects.StateKey(n.name, work, "x"), Document: m, Expect: bus.Any}); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyANewerDesiredStateOfAStationIsTaken(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	read := n.command(desired, "x", "")
	if _, end := n.do(t, read); end.State != message.Rejected || end.Kind != fleet.Unknown {
		t.Errorf("where there is none: %s (%s): %s", end.State, end.Kind, end.Message)
	}
	for _, step := range []struct {
		signer   string
		revision uint64
		content  string
		taken    bool
		text     string
	}{
		{"station", 2, "good", true, "good"},
		{"admin", 3, "of the administrator", false, "admin is admin and may not write this"},
		{"mallory", 3, "of a stranger", false, "is not a trusted one"},
		{"", 3, "of nobody", false, "not signed"},
		{"station", 1, "old", false, "the broker holds an older revision than this node has seen"},
		{"station", 2, "another", false, "has another content"},
		{"station", 3, "better", true, "better"},
	} {
		n.desire(t, step.signer, step.revision, step.content)
		_, end := n.do(t, read)
		switch {
		case step.taken && (end.State != message.Succeeded || !strings.Contains(string(end.Result), step.text)):
			t.Errorf("revision %d of %s: %s: %s %s", step.revision, step.signer, end.State, end.Message, end.Result)
		case !step.taken && (end.State != message.Rejected || end.Kind != fleet.Refused || !strings.Contains(end.Message, step.text)):
			t.Errorf("revision %d of %q: %s (%s): %s", step.revision, step.signer, end.State, end.Kind, end.Message)
		}
	}
}

func TestWithoutALinkTheDesiredStateIsReadFromDisk(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.desire(t, "station", 7, "kept")
	p := newProxy(t, n.url)
	n.start(t, func(c *agent.Config) { c.URL = p.url() })
	n.do(t, n.command(desired, "x", ""))
	running := n.begun(t, serial, "x", "a")
	id := n.send(t, n.command(desired, "x", ""))[0]
	n.do(t, n.command(work, "x", "")) // what was sent before it has come
	p.cut()
	n.desire(t, "station", 8, "not seen")
	n.open(t, "a")
	eventually(t, "it has run without a link", func() bool { return n.count(t, id) == 1 })
	p.heal()
	n.end(t, running)
	if end := n.end(t, id); end.State != message.Succeeded || !strings.Contains(string(end.Result), "kept") {
		t.Errorf("ended %s: %s %s", end.State, end.Message, end.Result)
	}
}
