package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Kinds of fault in the audit.
const (
	FaultRemoved    = "removed"    // a message is gone, and not by age
	FaultInserted   = "inserted"   // a message stands there that did not
	FaultReordered  = "reordered"  // two messages changed places
	FaultChanged    = "changed"    // another message stands there, or it is said to be stored at another time
	FaultCutOff     = "cut off"    // the end is gone, or all of it was made anew
	FaultChain      = "chain"      // the checkpoints are no unbroken chain
	FaultCheckpoint = "checkpoint" // a checkpoint is not whole
	FaultStranger   = "stranger"   // a checkpoint is not signed by a station
)

// AuditFault is where the audit is not what stations signed.
type AuditFault struct {
	Sequence uint64 `json:"sequence"` // of the audit: the first that is bad
	Kind     string `json:"kind"`
	Message  string `json:"message"`
}

// AuditVerdict is what comparing the audit with its checkpoints showed.
type AuditVerdict struct {
	First       uint64   `json:"first"` // sequences that the audit holds
	Last        uint64   `json:"last"`
	Covered     uint64   `json:"covered"`   // messages that are what was signed
	Uncovered   uint64   `json:"uncovered"` // messages behind the last checkpoint
	AgedOut     uint64   `json:"agedOut"`   // messages that were signed and are gone by age
	Before      uint64   `json:"before"`    // messages older than the first checkpoint
	Checkpoints int      `json:"checkpoints"`
	Stations    []string `json:"stations"`
	Head        Head     `json:"head"`
	// UncoveredSince is when the first of the uncovered was stored.
	UncoveredSince time.Time `json:"uncoveredSince,omitzero"`
	// Faults are the first ones, by sequence; Further is how many more there are.
	Faults  []AuditFault `json:"faults"`
	Further int          `json:"further"`
}

// VerifyOptions say what to compare.
type VerifyOptions struct {
	Since time.Time // leave out what was signed before; zero is all
	Heads []Head    // checkpoints that must be part of the chain
}

// VerifyAudit compares the audit with what stations signed about it. The error
// is Unknown where there is no checkpoint at all to compare with.
func (c *Client) VerifyAudit(ctx context.Context, o VerifyOptions) (AuditVerdict, error) {
	v := &verification{client: c, since: o.Since, owners: make(map[string]station.KeyAnswer)}
	if err := v.readChain(ctx); err != nil {
		return v.verdict, err
	}
	v.checkHeads(o.Heads)
	if len(v.chain) == 0 && len(v.faults) == 0 {
		return v.verdict, fleet.Errorf(fleet.Unknown, "no station has signed a checkpoint of the audit yet: one that runs does so within seconds of the first message")
	}
	if err := v.readAudit(ctx); err != nil {
		return v.verdict, err
	}
	return v.result(), nil
}

// verification is one comparison on its way.
type verification struct {
	client  *Client
	since   time.Time
	owners  map[string]station.KeyAnswer
	chain   []checkpoint
	horizon time.Time // what is older may be gone by age
	first   uint64    // sequence of the first message read, 0 before
	verdict AuditVerdict
	faults  []AuditFault
}

// fault notes what is wrong.
func (v *verification) fault(f AuditFault) { v.faults = append(v.faults, f) }

// faultAt is fault for what a checkpoint of some time shows.
func (v *verification) faultAt(at time.Time, f AuditFault) {
	if !at.Before(v.since) {
		v.fault(f)
	}
}

// mostFaults is how many faults are told one by one. Once a message is gone
// or put in, all behind it stand in a wrong place.
const mostFaults = 20

func (v *verification) result() AuditVerdict {
	r := &v.verdict
	slices.SortStableFunc(v.faults, func(a, b AuditFault) int { return cmp.Compare(a.Sequence, b.Sequence) })
	r.Faults = append([]AuditFault{}, v.faults[:min(mostFaults, len(v.faults))]...)
	r.Further = len(v.faults) - len(r.Faults)
	r.Checkpoints, r.Head = len(v.chain), v.head()
	for _, p := range v.chain {
		if !slices.Contains(r.Stations, p.by.Name) && p.by.Name != "" {
			r.Stations = append(r.Stations, p.by.Name)
		}
	}
	return *r
}

// readAudit reads the audit beside the chain.
func (v *verification) readAudit(ctx context.Context) error {
	state, err := v.client.conn.State(ctx, subjects.Audit)
	if err != nil {
		return err
	}
	v.verdict.First, v.verdict.Last = state.First, state.Last
	if end := v.head(); state.Last < end.To {
		v.fault(AuditFault{Sequence: state.Last + 1, Kind: FaultCutOff, Message: fmt.Sprintf("the audit ends at sequence %d, and a station signed what it held up to %d", state.Last, end.To)})
	}
	at := slices.IndexFunc(v.chain, func(p checkpoint) bool { return !p.At.Before(v.since) })
	if at < 0 {
		at = len(v.chain)
	}
	after := uint64(0)
	if at > 0 {
		after = v.chain[at-1].covers
	}
	w := &window{}
	next := func() error { // the checkpoint at `at` is read to its end
		err := v.compare(ctx, v.chain[at], w)
		at, w = at+1, &window{}
		return err
	}
	last := state.Last
	if state.Messages == 0 {
		last = 0
	}
	err = v.readTo(ctx, subjects.Audit, after, last, func(i bus.Item) error {
		if v.first == 0 {
			v.first = i.Sequence
		}
		for at < len(v.chain) && i.Sequence > v.chain[at].covers {
			if err := next(); err != nil {
				return err
			}
		}
		switch {
		case at == len(v.chain):
			if v.verdict.Uncovered++; v.verdict.UncoveredSince.IsZero() {
				v.verdict.UncoveredSince = i.At
			}
		case i.Sequence >= v.chain[at].From:
			w.add(i.Stored)
		case at == 0:
			v.verdict.Before++
		default:
			v.fault(AuditFault{Sequence: i.Sequence, Kind: FaultInserted, Message: i.Subject + " stands where nothing was when a station looked"})
		}
		return nil
	})
	for err == nil && at < len(v.chain) {
		err = next()
	}
	return err
}

// A replica that lags behind its leader ends before the leader does. It is
// asked again that often, with that pause.
const (
	lagTries = 10
	lagPause = 200 * time.Millisecond
)

// readTo reads a stream from behind a sequence up to the one at which its
// leader says that it ends, and what came since.
func (v *verification) readTo(ctx context.Context, stream string, after, last uint64, handle func(bus.Item) error) error {
	for try := 0; ; try++ {
		err := v.client.conn.Read(ctx, stream, bus.ReadOptions{After: after}, func(i bus.Item) error {
			after = i.Sequence
			return handle(i)
		})
		if err != nil || after >= last || try == lagTries {
			return err
		}
		select {
		case <-time.After(lagPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// window is what the audit holds where a checkpoint covers it.
type window struct {
	marker    message.Marker
	sequences []uint64
	marks     []message.Mark
	subjects  []string
}

func (w *window) add(s message.Stored) {
	w.sequences, w.subjects = append(w.sequences, s.Sequence), append(w.subjects, s.Subject)
	w.marks = append(w.marks, w.marker.Add(s))
}

// at is the mark and the subject of what stands at a sequence.
func (w *window) at(sequence uint64) (message.Mark, string, bool) {
	i, found := slices.BinarySearch(w.sequences, sequence)
	if !found {
		return message.Mark{}, "", false
	}
	return w.marks[i], w.subjects[i], true
}

// compare compares what a checkpoint covers with what the audit holds there.
func (v *verification) compare(ctx context.Context, p checkpoint, w *window) error {
	if p.covers < p.From {
		return nil
	}
	if (v.first == 0 || p.covers < v.first) && !p.until.After(v.horizon) {
		v.verdict.AgedOut += p.covers - p.From + 1
		return nil
	}
	stored, err := v.client.conn.At(ctx, subjects.Checkpoints, p.sequence)
	if err != nil {
		return err
	}
	if stored == nil { // gone by age since the chain was read
		return nil
	}
	c, m, err := message.OpenCheckpoint(*stored)
	if err != nil || message.CheckpointHash(m) != p.hash {
		return fleet.Errorf(fleet.Failed, "checkpoint %d is another one than a moment ago", p.Number)
	}
	var bad, last uint64 // how many, and the last of them
	var first AuditFault
	for s := p.From; s <= p.covers; s++ {
		want := c.Mark(s)
		got, _, there := w.at(s)
		switch {
		case there && got == want:
			v.verdict.Covered++
			continue
		case !there && (v.first == 0 || s < v.first) && !want.At().After(v.horizon):
			v.verdict.AgedOut++
			continue
		case bad == 0:
			first = w.explain(c, s, p.covers)
		}
		bad, last = bad+1, s
	}
	if bad > 1 {
		first.Message += fmt.Sprintf("; of the %d that follow up to %d, %d are not what was signed", last-first.Sequence, last, bad-1)
	}
	if bad > 0 {
		v.fault(first)
	} else if _, digest := w.marker.Take(); uint64(len(w.marks)) == c.To-c.From+1 && digest != c.Digest {
		v.fault(AuditFault{Sequence: p.From, Kind: FaultChanged, Message: fmt.Sprintf("sequences %d to %d do not have the digest that was signed", c.From, c.To)})
	}
	return nil
}

// explain says what happened at the first sequence of a checkpoint that is
// not as it was.
func (w *window) explain(c message.Checkpoint, s, covers uint64) AuditFault {
	want := c.Mark(s)
	stored := want.At().Format("2006-01-02 15:04:05.000 UTC")
	got, subject, there := w.at(s)
	if !there {
		return AuditFault{s, FaultRemoved, "the message that was stored at " + stored + " is gone"}
	}
	if got.Same(want) {
		return AuditFault{s, FaultChanged, fmt.Sprintf("%s was stored at %s, and is said to be of %s", subject, stored, got.At().Format("2006-01-02 15:04:05.000 UTC"))}
	}
	moved := slices.IndexFunc(w.marks, want.Same) // where the message is now
	known := false                                // what stands there now was signed for another place
	for o := c.From; o <= covers && !known; o++ {
		known = c.Mark(o).Same(got)
	}
	switch {
	case moved >= 0 && known:
		return AuditFault{s, FaultReordered, fmt.Sprintf("%s stands where the message stood that is at %d now", subject, w.sequences[moved])}
	case moved >= 0:
		return AuditFault{s, FaultInserted, fmt.Sprintf("%s was put before the message that is at %d now", subject, w.sequences[moved])}
	case known:
		return AuditFault{s, FaultRemoved, fmt.Sprintf("the message that was stored at %s is gone, and %s stands in its place", stored, subject)}
	}
	return AuditFault{s, FaultChanged, fmt.Sprintf("%s is not the message that was stored at %s: its subject, a header or its body is another", subject, stored)}
}
