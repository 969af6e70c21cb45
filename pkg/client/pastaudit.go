package client

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// answered looks into the audit for what nodes said of which no report is kept: how
// a change ended last, and whether nginx itself took that back afterwards.
func (p *lookBack) answered(ctx context.Context) error {
	var open, ran []string
	for _, name := range p.names {
		if p.nodes[name].Sync == "" {
			open = append(open, name)
		}
	}
	ends := make(map[string]message.Delivery)
	answers := func(name string) subjects.Subject {
		return subjects.Subject{Node: name, Direction: subjects.Command, Method: handlers.MethodNginxConfig, Domain: "nginx"}.Answer()
	}
	err := p.back(ctx, open, answers, func(name string, d message.Delivery) (enough bool) {
		state := d.Message.State
		if state != message.Succeeded && state != message.FailedEnd || !p.client.Proven(ctx, d) {
			return false
		}
		ends[name] = d
		return true
	})
	if err != nil {
		return err
	}
	for _, name := range open {
		n := p.nodes[name]
		if end, said := ends[name]; said {
			p.ended(n, end)
		} else {
			n.Sync, n.Message = station.Unsaid, "nothing is kept of what it said before"
		}
		if n.RanRevision > 0 {
			ran = append(ran, name)
		}
	}
	happenings := func(name string) subjects.Subject {
		return subjects.Subject{Node: name, Direction: subjects.Event, Method: subjects.MethodLifecycle, Domain: "nginx"}
	}
	return p.back(ctx, ran, happenings, func(name string, d message.Delivery) (enough bool) {
		var l message.Lifecycle
		switch {
		case d.StoredAt.Before(ends[name].StoredAt):
			return true
		case d.Message.Unpack() != nil || json.Unmarshal(d.Message.Body, &l) != nil || l.Event != nginx.EventRolledBack || !p.client.Proven(ctx, d):
			return false
		}
		n := p.nodes[name]
		n.Message = fmt.Sprintf("revision %d was taken back afterwards, and what ran then is not kept", n.RanRevision)
		n.Sync, n.RanRevision, n.RanDigest = station.Unsaid, 0, ""
		return true
	})
}

// back hands over what nodes said on a subject each before the moment, by the audit
// and the newest first, until it is enough. The last words of many nodes are one
// question; those that are not enough are looked behind one by one.
func (p *lookBack) back(ctx context.Context, names []string, on func(name string) subjects.Subject, enough func(name string, d message.Delivery) bool) error {
	var from []string
	for _, name := range names {
		from = append(from, on(name).String())
	}
	var left []message.Stored
	look := func(s message.Stored) {
		d := message.ReceiveCopied(s, bus.Origin(s))
		if d.Fault != nil || !enough(nodeOfKey(s.Subject), d) {
			left = append(left, s)
		}
	}
	err := p.client.conn.LastAt(ctx, subjects.Audit, from, bus.Moment{Time: p.at}, look)
	for err == nil && len(left) > 0 {
		behind := left
		left = nil
		err = each(len(behind), func(i int) (*message.Stored, error) {
			return p.client.conn.LastBefore(ctx, subjects.Audit, behind[i].Subject, behind[i].Sequence)
		}, func(_ int, s *message.Stored) {
			if s != nil {
				look(*s)
			}
		})
	}
	return err
}

// ended takes how a change ended for a node for what it ran.
func (p *lookBack) ended(n *NodeThen, last message.Delivery) {
	command := station.CommandFor(n.Name, p.desired[n.Name])
	answer, err := last.Message.ReadAnswer()
	var verdict nginx.Verdict
	if err == nil && last.Message.State == message.Succeeded {
		err = json.Unmarshal(answer.Result, &verdict)
	}
	switch {
	case err != nil:
		n.Sync, n.Message = station.Unsaid, "its last answer before cannot be read"
	case last.Message.State == message.FailedEnd && last.Message.Command == command.ID:
		n.Sync, n.Message = station.FailedIn, answer.Message
	case last.Message.State == message.FailedEnd:
		n.Sync, n.Message = station.Pending, "an older revision had failed: "+answer.Message
	default:
		n.RanRevision, n.RanDigest, n.SaidAt = verdict.Revision, verdict.Digest, last.StoredAt
		n.Sync, n.Message = station.Compared(p.desired[n.Name], handlers.Reported{ObservedRevision: verdict.Revision, Revision: verdict.Revision,
			Status: handlers.StatusApplied, RunningDigest: verdict.Digest})
	}
}

// readsAtOnce is how many questions each has under way.
const readsAtOnce = 16

// each asks for one message of each of so many things, several at once, and hands
// over what there is in their order, nil for nothing.
func each(count int, ask func(i int) (*message.Stored, error), handle func(i int, s *message.Stored)) error {
	found, failed := make([]*message.Stored, count), make([]error, count)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(readsAtOnce, count) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				found[i], failed[i] = ask(i)
			}
		})
	}
	all.Wait()
	for i, s := range found {
		if failed[i] != nil {
			return failed[i]
		}
		handle(i, s)
	}
	return nil
}
