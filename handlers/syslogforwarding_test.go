package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// freePort is an address where nobody listens.
func freePort(t *testing.T, network string) string {
	t.Helper()
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// dial connects to a listener that is about to begin.
func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	deadline := t.Context()
	for deadline.Err() == nil {
		c, err := net.Dial(network, address)
		if err == nil && network == "udp" { // a refusal shows on the second write
			_, _ = c.Write([]byte{})
			if _, err = c.Write([]byte{}); err != nil {
				c.Close()
			}
		}
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
	}
	t.Fatal("nobody listens")
	return nil
}

func batchOf(t *testing.T, body []byte) handlers.LogBatch {
	t.Helper()
	var b handlers.LogBatch
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func send(t *testing.T, c net.Conn, from, to int) {
	t.Helper()
	end := ""
	if c.RemoteAddr().Network() == "tcp" {
		end = "\n"
	}
	for i := from; i < to; i++ {
		if _, err := fmt.Fprintf(c, "<190>Oct 11 22:14:15 ship1 nginx: line %d%s", i, end); err != nil {
			t.Fatal(err)
		}
	}
}

// lines takes batches until the line before to has come, and checks their order.
func lines(t *testing.T, from, to int, batch func() handlers.LogBatch) {
	t.Helper()
	for from < to {
		b := batch()
		if b.ID == "" || len(b.Records) == 0 || len(b.Records) > 256 {
			t.Fatalf("a batch %q of %d", b.ID, len(b.Records))
		}
		for _, r := range b.Records {
			if want := fmt.Sprint("line ", from); r.Message != want {
				t.Fatalf("%q comes where %q should", r.Message, want)
			}
			from++
		}
	}
}

func (f *fakeEvents) batch(t *testing.T) handlers.LogBatch {
	t.Helper()
	e := next(t, f.took)
	b := batchOf(t, e.body)
	if e.method != subjects.MethodSyslog || e.domain != "nginx" || e.id != b.ID {
		t.Errorf("sent %s %s under %s, it calls itself %s", e.method, e.domain, e.id, b.ID)
	}
	return b
}

func TestWhatComesInOnAnySocketGoesOutInBatchesInOrder(t *testing.T) {
	unix := filepath.Join(t.TempDir(), "s")
	for network, address := range map[string]string{"unixgram": unix, "udp": freePort(t, "udp"), "tcp": freePort(t, "tcp")} {
		t.Run(network, func(t *testing.T) {
			events := newEvents(true)
			n := &handlers.Node{Events: events, Spool: newSpool(), Syslog: map[string]string{"nginx": network + ":" + address}}
			service(t, n, "syslogforwarding")
			c := dial(t, network, address)
			for from := 0; from < 400; from += 100 { // a datagram that nobody has room for is dropped
				send(t, c, from, from+100)
				lines(t, from, from+100, func() handlers.LogBatch { return events.batch(t) })
			}
		})
	}
}

func TestWithoutALinkBatchesWaitAndThenLeaveOnceInOrder(t *testing.T) {
	address := freePort(t, "tcp")
	events, spool := newEvents(false), newSpool()
	service(t, &handlers.Node{Events: events, Spool: spool, Syslog: map[string]string{"nginx": "tcp:" + address}}, "syslogforwarding")
	c := dial(t, "tcp", address)
	send(t, c, 0, 1000)
	var ids []string
	lines(t, 0, 1000, func() handlers.LogBatch {
		b := batchOf(t, next(t, spool.pushed).Batch)
		ids = append(ids, b.ID)
		return b
	})
	events.set(func(f *fakeEvents) { f.lose = true; close(f.up) })
	// The first was taken, and its acknowledgement lost: it goes again under its id.
	first := events.batch(t)
	if again := events.batch(t); again.ID != first.ID || again.ID != ids[0] {
		t.Errorf("%s went again as %s", first.ID, again.ID)
	}
	var left []string
	lines(t, len(first.Records), 1000, func() handlers.LogBatch {
		b := events.batch(t)
		left = append(left, b.ID)
		return b
	})
	if !slices.Equal(left, ids[1:]) {
		t.Errorf("spooled were %v, sent %v", ids, left)
	}
	send(t, c, 1000, 1010)
	lines(t, 1000, 1010, func() handlers.LogBatch { return events.batch(t) })
	if len(events.took) != 0 {
		t.Errorf("%d more were sent", len(events.took))
	}
	spool.mu.Lock()
	defer spool.mu.Unlock()
	if spool.told == 0 {
		t.Error("nobody asked whether something was dropped")
	}
}

func TestABatchWhoseAcknowledgementIsLostGoesAgainUnderItsID(t *testing.T) {
	address := freePort(t, "tcp")
	events := newEvents(true)
	events.lose = true
	service(t, &handlers.Node{Events: events, Spool: newSpool(), Syslog: map[string]string{"nginx": "tcp:" + address}}, "syslogforwarding")
	send(t, dial(t, "tcp", address), 0, 1)
	if first, again := events.batch(t), events.batch(t); first.ID != again.ID || len(again.Records) != 1 {
		t.Errorf("%s went again as %s", first.ID, again.ID)
	}
}

// A stranger chooses what nginx logs, by asking for it.
func TestABatchOfAngleBracketsFitsTheBroker(t *testing.T) {
	address := freePort(t, "tcp")
	events := newEvents(true)
	service(t, &handlers.Node{Events: events, Spool: newSpool(), Syslog: map[string]string{"nginx": "tcp:" + address}}, "syslogforwarding")
	c := dial(t, "tcp", address)
	line := "<190>Oct 11 22:14:15 ship1 nginx: " + strings.Repeat("<", 8000) + "\n"
	for range 64 {
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 64; {
		e := next(t, events.took)
		if len(e.body) > 600<<10 {
			t.Fatalf("a batch of %d bytes", len(e.body))
		}
		got += len(batchOf(t, e.body).Records)
	}
}

func TestWhatCanNeverBeSentDoesNotHoldUpTheRest(t *testing.T) {
	events, spool := newEvents(true), newSpool()
	for i, batch := range []string{`garbage`, `{"id":"A","records":[]}`, `{"id":"B","records":[]}`} {
		if err := spool.Push("nginx", 1, []byte(batch)); err != nil {
			t.Fatal(i, err)
		}
	}
	events.err = fleet.Errorf(fleet.Invalid, "too large")
	service(t, &handlers.Node{Events: events, Spool: spool}, "syslogforwarding")
	// Nothing can be sent, so all go; then what comes is sent again.
	for want := range uint64(3) {
		if upTo := next(t, spool.done); upTo != want+1 {
			t.Errorf("up to %d is done", upTo)
		}
	}
	events.set(func(f *fakeEvents) { f.err = nil })
	if err := spool.Push("nginx", 1, []byte(`{"id":"C","records":[]}`)); err != nil {
		t.Fatal(err)
	}
	if b := events.batch(t); b.ID != "C" {
		t.Errorf("sent %+v", b)
	}
}

func TestOneAddressThatIsTakenSilencesNoOther(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := freePort(t, "tcp")
	events := newEvents(true)
	n := &handlers.Node{Events: events, Spool: newSpool(), Syslog: map[string]string{"edge": "tcp:" + taken.Addr().String(), "nginx": "tcp:" + address}}
	service(t, n, "syslogforwarding")
	send(t, dial(t, "tcp", address), 0, 1)
	lines(t, 0, 1, func() handlers.LogBatch { return events.batch(t) })

	r, err := run(t, n, "syslogforwarding", "")
	want := []handlers.Forwarding{{Domain: "edge", Address: n.Syslog["edge"]}, {Domain: "nginx", Address: n.Syslog["nginx"]}}
	if err != nil || !slices.Equal(r.Data.([]handlers.Forwarding), want) || r.Message != "forwards 2 domains" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatCameBeforeTheEndIsKept(t *testing.T) {
	address := freePort(t, "tcp")
	events, spool := newEvents(true), newSpool()
	stop := service(t, &handlers.Node{Events: events, Spool: spool, Syslog: map[string]string{"nginx": "tcp:" + address}}, "syslogforwarding")
	c := dial(t, "tcp", address)
	send(t, c, 0, 300) // the first batch is full and shows that the sender was heard
	first := events.batch(t)
	stop()
	rest := len(first.Records)
	for len(events.took) > 0 {
		rest += len(events.batch(t).Records)
	}
	for len(spool.pushed) > 0 {
		rest += len(batchOf(t, (<-spool.pushed).Batch).Records)
	}
	if rest < len(first.Records) || rest > 300 {
		t.Errorf("%d of 300 were kept", rest)
	}
}

// slowEvents take nothing before they are open.
type slowEvents struct {
	*fakeEvents
	open chan struct{}
}

func (s slowEvents) Emit(ctx context.Context, method, domain, id string, body []byte) error {
	select {
	case <-s.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.fakeEvents.Emit(ctx, method, domain, id, body)
}

func TestDatagramsThatFoundNoRoomAreCounted(t *testing.T) {
	address := filepath.Join(t.TempDir(), "s")
	events := slowEvents{newEvents(true), make(chan struct{})}
	service(t, &handlers.Node{Events: events, Spool: newSpool(), Syslog: map[string]string{"nginx": "unixgram:" + address}}, "syslogforwarding")
	c := dial(t, "unixgram", address)
	const flood = 5000
	send(t, c, 0, flood)
	close(events.open)
	sent, told, missed := uint64(flood), uint64(0), uint64(0)
	for told < sent {
		b := events.batch(t)
		told += uint64(len(b.Records)) + b.Missed
		missed += b.Missed
		if told < sent { // what is missed is told with the next batch
			send(t, c, int(sent), int(sent)+1)
			sent++
		}
	}
	if told != sent || missed == 0 {
		t.Errorf("%d were sent, %d told of, %d of them as missed", sent, told, missed)
	}
}
