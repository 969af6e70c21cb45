package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/syslog"
	"fairlead/subjects"
)

// SyslogBody is empty: as a command, syslogforwarding says what it forwards.
type SyslogBody struct{}

// LogBatch is the body of a syslogforwarding event.
type LogBatch struct {
	ID      string          `json:"id"` // the event's id, the same on every attempt
	Records []syslog.Record `json:"records"`
	// Missed counts the datagrams that found no room since the batch before:
	// a sender of datagrams cannot be made to wait.
	Missed uint64 `json:"missed,omitempty"`
}

// Forwarding is the answer of syslogforwarding.
type Forwarding struct {
	Domain  string `json:"domain"`  // of the events
	Address string `json:"address"` // where the agent listens
}

var _ = define(Definition[SyslogBody]{
	Method:  subjects.MethodSyslog,
	Summary: "forward syslog messages to the LOGS stream",
	Details: "The agent listens for RFC 3164 and RFC 5424 on unix datagram, UDP and TCP sockets, one for each domain, " +
		"and sends what comes in batches. Without a link batches wait in the spool on disk; when that is full the oldest go, " +
		"and a lifecycle event says how many. As a command it answers what is listened to.",
	Role:    subjects.Viewer,
	Domain:  "nginx",
	Returns: []Forwarding{},
	Handle: func(_ context.Context, n *Node, _ Command[SyslogBody]) (Result, error) {
		var all []Forwarding
		for _, domain := range slices.Sorted(maps.Keys(n.Syslog)) {
			all = append(all, Forwarding{domain, n.Syslog[domain]})
		}
		return Result{Message: fmt.Sprintf("forwards %d domains", len(all)), Data: all}, nil
	},
	Serve: func(ctx context.Context, n *Node) error {
		var all sync.WaitGroup
		f := &forwarder{node: n}
		all.Go(func() { f.drain(ctx) })
		for domain, address := range n.Syslog {
			listener, err := syslog.Listen(address)
			if err != nil {
				// One address that is taken must not silence the others.
				n.Log.Error("syslog is not forwarded", "domain", domain, "error", err)
				continue
			}
			records := make(chan syslog.Record, batchRecords)
			all.Go(func() {
				defer close(records)
				if err := listener.Run(ctx, func(r syslog.Record) { records <- r }); err != nil && ctx.Err() == nil {
					n.Log.Error("syslog is no longer forwarded", "domain", domain, "error", err)
				}
			})
			all.Go(func() { f.collect(ctx, domain, records, listener) })
		}
		all.Wait()
		return nil
	},
})

// A batch leaves when it is full or its oldest record is this old.
const (
	batchRecords = 256
	batchBytes   = 256 << 10
	batchAge     = 100 * time.Millisecond
)

// forwarder sends batches, or spools them. Batches of one domain stay in order.
type forwarder struct{ node *Node }

// collect makes batches of what comes, until records is closed.
func (f *forwarder) collect(ctx context.Context, domain string, records <-chan syslog.Record, listener *syslog.Listener) {
	var batch []syslog.Record
	size := 0
	var age <-chan time.Time
	missed := uint64(0)
	send := func() {
		if len(batch) > 0 {
			now := listener.Stats().Dropped
			f.send(ctx, domain, LogBatch{ID: message.NewID(), Records: batch, Missed: now - missed})
			missed = now
		}
		batch, size, age = nil, 0, nil
	}
	for {
		select {
		case r, open := <-records:
			if !open {
				send()
				return
			}
			if len(batch) == 0 {
				age = time.After(batchAge)
			}
			batch = append(batch, r)
			size += len(r.Message) + len(r.Host) + len(r.App) + len(r.PID)
			if len(batch) >= batchRecords || size >= batchBytes {
				send()
			}
		case <-age:
			send()
		}
	}
}

func (f *forwarder) send(ctx context.Context, domain string, b LogBatch) {
	body, err := b.encode()
	if err == nil && f.node.Spool.Empty() && ctx.Err() == nil && f.node.Events.Emit(ctx, subjects.MethodSyslog, domain, b.ID, body) == nil {
		return
	}
	if err == nil {
		err = f.node.Spool.Push(domain, len(b.Records), body)
	}
	if err != nil {
		f.node.Log.Error("log batch lost", "domain", domain, "records", len(b.Records), "error", err)
	}
}

// encode leaves < and > as they are. Escaped they take six bytes, and a batch
// of requests full of them would be larger than the broker takes.
func (b LogBatch) encode() ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	err := e.Encode(b)
	return bytes.TrimRight(body.Bytes(), "\n"), err
}

// drain empties the spool whenever there is a link.
func (f *forwarder) drain(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if f.node.Spool.Empty() {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-f.node.Events.Connected():
		}
		if err := f.drainOnce(ctx); err != nil && ctx.Err() == nil {
			f.node.Log.Debug("the spool waits", "error", err)
		}
	}
}

// DrainSpool sends the log batches that wait in a node's spool, beside the service
// that does so or after its end.
func DrainSpool(ctx context.Context, n *Node) error { return (&forwarder{node: n}).drainOnce(ctx) }

const spoolPage = 32

func (f *forwarder) drainOnce(ctx context.Context) error {
	for {
		page, err := f.node.Spool.Peek(spoolPage)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := f.node.Spool.TellDropped(); err != nil {
			return err
		}
		for _, s := range page {
			if err := f.emit(ctx, s); err != nil {
				return err
			}
			if err := f.node.Spool.Done(s.Position); err != nil {
				return err
			}
		}
	}
}

// emit sends a spooled batch as it was, under its id. What can never be sent
// is told and left out: all behind it would wait for ever.
func (f *forwarder) emit(ctx context.Context, s Spooled) error {
	var b LogBatch
	err := json.Unmarshal(s.Batch, &b)
	if err == nil {
		if err = f.node.Events.Emit(ctx, subjects.MethodSyslog, s.Domain, b.ID, s.Batch); fleet.KindOf(err) != fleet.Invalid {
			return err
		}
	}
	f.node.Log.Error("log batch lost", "domain", s.Domain, "records", len(b.Records), "error", err)
	return nil
}
