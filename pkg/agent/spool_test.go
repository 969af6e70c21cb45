package agent_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// logging runs a node that forwards syslog, behind a link that can be cut.
// The returned func logs one line.
func logging(t *testing.T, n *node, spool int64) (p *proxy, log func(text string)) {
	t.Helper()
	forward, err := handlers.All().Find(subjects.MethodSyslog)
	if err != nil {
		t.Fatal(err)
	}
	p = newProxy(t, n.url)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t)) // over TCP the sender waits: nothing is lost before the spool
	n.start(t, func(c *agent.Config) {
		c.URL, c.SpoolBytes = p.url(), spool
		c.Syslog = map[string]string{"nginx": "tcp:" + address}
		c.Registry = handlers.New(append(c.Registry.Handlers(), forward)...)
	})
	var conn net.Conn
	eventually(t, "the agent listens for syslog", func() bool {
		conn, err = net.Dial("tcp", address)
		return err == nil
	})
	t.Cleanup(func() { _ = conn.Close() })
	return p, func(text string) {
		if _, err := conn.Write([]byte("<190>Nov 22 10:00:00 ship nginx: " + text + "\n")); err != nil {
			t.Fatal(err)
		}
	}
}

// logs reads a node's log lines until one of them is the last.
func (n *node) logs(t *testing.T, last string) (lines []string) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	ids := make(map[string]bool)
	err := n.client.Logs(ctx, client.LogOptions{Node: n.name, Follow: true}, func(b client.LogBatch) error {
		if ids[b.ID] {
			t.Errorf("batch %s is stored twice", b.ID)
		}
		ids[b.ID] = true
		for _, r := range b.Records {
			lines = append(lines, r.Message)
			if r.Message == last {
				return errSeen
			}
		}
		return nil
	})
	if err != errSeen {
		t.Fatalf("%q did not come, %d lines did: %v", last, len(lines), err)
	}
	return lines
}

func TestLogsOfATimeWithoutALinkComeInOrderWhenItReturns(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	p, log := logging(t, n, 0)
	const lines = 1200 // several batches in each part
	for i := range lines {
		switch i {
		case lines / 3:
			n.logs(t, fmt.Sprintf("line %d", i-1))
			p.cut()
		case 2 * lines / 3:
			p.heal()
		}
		log(fmt.Sprintf("line %d", i))
	}
	got := n.logs(t, fmt.Sprintf("line %d", lines-1))
	if len(got) != lines {
		t.Fatalf("%d lines came of %d", len(got), lines)
	}
	for i, line := range got {
		if line != fmt.Sprintf("line %d", i) {
			t.Fatalf("in the place of line %d there is %q", i, line)
		}
	}
}

func TestLogsThatTheSpoolHasNoRoomForAreCounted(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	p, log := logging(t, n, 700<<10)
	log("first")
	n.logs(t, "first")
	p.cut()
	const lines = 2000
	filler := strings.Repeat("x", 1000)
	for i := range lines {
		log(fmt.Sprintf("%d %s", i, filler))
	}
	p.heal()
	log("last")
	got := n.logs(t, "last")
	kept := got[1 : len(got)-1]
	if len(kept) == 0 || len(kept) == lines {
		t.Fatalf("%d of %d lines were kept", len(kept), lines)
	}
	// In order, to the newest one. There may be gaps: the spool can fill again
	// while its oldest batch is on its way.
	before := -1
	for _, line := range kept {
		var n int
		if _, err := fmt.Sscan(line, &n); err != nil || n <= before {
			t.Fatalf("line %d is followed by %.20q (%v)", before, line, err)
		}
		before = n
	}
	if before != lines-1 {
		t.Errorf("the newest that was kept is line %d", before)
	}
	dropped := 0
	eventually(t, "the drop is told", func() bool {
		dropped = 0
		for _, l := range n.lifecycle(t) {
			var records int
			if l.Event == message.LifecycleDropped {
				if _, err := fmt.Sscanf(l.Message, "the log spool was full: %d records", &records); err != nil {
					t.Fatalf("%q: %v", l.Message, err)
				}
				dropped += records
			}
		}
		return dropped > 0
	})
	// A batch that is dropped while it is being sent counts too: never too few.
	if dropped+len(kept) < lines || dropped > lines {
		t.Errorf("%d lines were kept, %d are said to be dropped, %d were logged", len(kept), dropped, lines)
	}
}
