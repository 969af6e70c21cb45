package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// checkpoint is one of the chain, without its marks.
type checkpoint struct {
	message.Checkpoint
	hash     string
	sequence uint64 // in CHECKPOINTS
	until    time.Time
	covers   uint64 // To, or less where the audit was cut off since
	by       station.KeyAnswer
	key      string
	believed bool // its signer was a station when it was stored
}

// span says for people what it covers.
func (p checkpoint) span() string {
	if p.To < p.From {
		return fmt.Sprintf("checkpoint %d", p.Number)
	}
	return fmt.Sprintf("checkpoint %d (sequences %d to %d)", p.Number, p.From, p.To)
}

// readChain reads CHECKPOINTS and links what is one chain, the oldest first.
// What is no part of it, and each break in it, is a fault. A checkpoint is
// believed whose signer was a station when it was stored, or that a believed one
// names as the one before it: its station believed it then.
func (v *verification) readChain(ctx context.Context) error {
	var all []checkpoint
	covered := uint64(0) // by the last one that could be read
	end, err := v.client.conn.End(ctx, subjects.Checkpoints, subjects.Checkpoint)
	if err != nil {
		return err
	}
	last := uint64(0)
	if end != nil {
		last = end.Sequence
	}
	err = v.readTo(ctx, subjects.Checkpoints, 0, last, func(i bus.Item) error {
		c, m, err := message.OpenCheckpoint(i.Stored)
		if err != nil {
			v.faultAt(i.At, AuditFault{Sequence: covered + 1, Kind: FaultCheckpoint,
				Message: fmt.Sprintf("message %d of %s is no whole checkpoint: %v", i.Sequence, subjects.Checkpoints, err)})
			return nil
		}
		by, err := v.owner(ctx, m.Key)
		if err != nil {
			return err
		}
		p := checkpoint{Checkpoint: c, hash: message.CheckpointHash(m), sequence: i.Sequence, until: c.Until(), covers: c.To, by: by, key: m.Key,
			believed: by.Role == subjects.Station && !endedBy(by, i.At)}
		p.Marks, p.Digest = nil, "" // there may be many; compare reads them again
		all, covered = append(all, p), p.To
		return nil
	})
	if err != nil {
		return err
	}
	v.chain = v.link(all)
	v.horizon = ageHorizon(v.chain, time.Now())
	v.follow()
	return nil
}

// owner is who signs with a key, asked once.
func (v *verification) owner(ctx context.Context, key string) (station.KeyAnswer, error) {
	if known, ok := v.owners[key]; ok {
		return known, nil
	}
	owner, err := v.client.whose(ctx, key)
	if err != nil {
		return owner, fmt.Errorf("whose key signed a checkpoint: %w", err)
	}
	v.owners[key] = owner
	return owner, nil
}

// link walks from the last checkpoint that a station signed to the first.
func (v *verification) link(all []checkpoint) (chain []checkpoint) {
	byHash := make(map[string]int, len(all))
	for i, p := range all {
		byHash[p.hash] = i
	}
	last := func(below int) int {
		for i := below - 1; i >= 0; i-- {
			if all[i].believed {
				return i
			}
		}
		return -1
	}
	on := make(map[int]bool)
	for i := last(len(all)); i >= 0; {
		p := all[i]
		on[i] = true
		chain = append(chain, p)
		before, found := byHash[p.Previous]
		if found && before < i {
			i = before
			continue
		}
		before = last(i)
		switch {
		case before < 0: // the begin, or what follow decides
		case p.Previous == "":
			v.faultAt(p.At, AuditFault{Sequence: p.From, Kind: FaultChain, Message: p.span() + " begins a new chain: the station that signed it saw none of those before"})
		default:
			v.faultAt(p.At, AuditFault{Sequence: all[before].To + 1, Kind: FaultChain,
				Message: fmt.Sprintf("the checkpoint between %d and %d is gone, or is not what it was", all[before].Number, p.Number)})
		}
		i = before
	}
	slices.Reverse(chain)
	for i, p := range all {
		switch {
		case on[i]:
		case p.believed:
			v.faultAt(p.At, AuditFault{Sequence: p.From, Kind: FaultChain, Message: fmt.Sprintf("%s, by %s, is no part of the chain that ends at %d", p.span(), p.by.Name, chain[len(chain)-1].Number)})
		default:
			v.faultAt(p.At, AuditFault{Sequence: p.From, Kind: FaultStranger, Message: fmt.Sprintf("%s is signed by key %s, which is %s", p.span(), p.key, notStations(p.by))})
		}
	}
	return chain
}

func notStations(by station.KeyAnswer) string {
	switch {
	case by.Name == "":
		return "nobody's who is trusted"
	case by.Role == subjects.Station:
		return fmt.Sprintf("%s's, who was a station until %s", by.Name, by.Ended.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s's, who is %s and no station", by.Name, by.Role)
}

// follow looks at what each checkpoint says of the one before it.
func (v *verification) follow() {
	limit := ^uint64(0)
	for i := len(v.chain) - 1; i >= 0; i-- {
		p := &v.chain[i]
		p.covers = min(p.To, limit)
		if p.Ended != nil {
			limit = min(limit, *p.Ended)
			v.faultAt(p.At, AuditFault{Sequence: *p.Ended + 1, Kind: FaultCutOff,
				Message: fmt.Sprintf("%s found at %s that the audit ended at sequence %d, although more was signed: it was cut off or made anew",
					cmp.Or(p.by.Name, "a station"), p.At.UTC().Format(time.RFC3339), *p.Ended)})
			continue
		}
		if i == 0 {
			if p.Previous != "" && p.After.After(v.horizon) {
				v.faultAt(p.At, AuditFault{Sequence: p.From, Kind: FaultChain, Message: fmt.Sprintf("the checkpoints before %d are gone, though not by age", p.Number)})
			}
			continue
		}
		before := v.chain[i-1]
		switch {
		case p.Number != before.Number+1, p.Previous != before.hash: // told already
		case p.From == before.To+1:
		case p.From > before.To+1 && before.until.Before(p.At.Add(-p.Keep()+clockSlack)): // gone by age before a station looked
		default:
			v.faultAt(p.At, AuditFault{Sequence: before.To + 1, Kind: FaultRemoved,
				Message: fmt.Sprintf("sequences %d to %d were gone before they could be signed", before.To+1, p.From-1)})
		}
	}
}

// clockSlack is how far the clocks of broker, station and this host may differ.
const clockSlack = 10 * time.Minute

// ageHorizon is the moment up to which messages may be gone by age: each
// checkpoint says how long they were kept until the next one.
func ageHorizon(all []checkpoint, now time.Time) (horizon time.Time) {
	for i, p := range all {
		end := now
		if i+1 < len(all) && all[i+1].At.Before(now) {
			end = all[i+1].At
		}
		if h := end.Add(clockSlack - p.Keep()); h.After(horizon) {
			horizon = h
		}
	}
	return horizon
}

// Head is the end of the chain at some time. Who knows it finds out when the
// chain is cut back behind it.
type Head struct {
	Number uint64    `json:"number"`
	Hash   string    `json:"hash"`
	To     uint64    `json:"to"`
	At     time.Time `json:"at"`
}

// String is a head as ParseHead reads it.
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Number, h.Hash) }

// ParseHead reads a head that somebody wrote down.
func ParseHead(text string) (h Head, err error) {
	number, hash, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if raw, fault := hex.DecodeString(hash); err != nil || fault != nil || len(raw) != sha256.Size {
		return h, fleet.Errorf(fleet.Invalid, "%q is no head: write NUMBER:HASH as `fairlead audit verify` prints it", text)
	}
	return Head{Number: n, Hash: strings.ToLower(hash)}, nil
}

// checkHeads finds heads that somebody knows in the chain.
func (v *verification) checkHeads(heads []Head) {
	end := v.head()
	for _, h := range heads {
		seen := ""
		if !h.At.IsZero() {
			seen = fmt.Sprintf(", which was the last one at %s,", h.At.UTC().Format(time.RFC3339))
		}
		i := slices.IndexFunc(v.chain, func(p checkpoint) bool { return p.Number >= h.Number })
		switch {
		case i < 0:
			v.fault(AuditFault{Sequence: end.To + 1, Kind: FaultCutOff, Message: fmt.Sprintf("checkpoint %d%s is gone: the chain ends at %d", h.Number, seen, end.Number)})
		case v.chain[i].Number > h.Number: // gone by age, or a fault is told already
		case v.chain[i].hash != h.Hash:
			v.fault(AuditFault{Sequence: v.chain[i].From, Kind: FaultChain, Message: fmt.Sprintf("checkpoint %d%s is another one now", h.Number, seen)})
		}
	}
}

// head is the chain's end.
func (v *verification) head() Head {
	if len(v.chain) == 0 {
		return Head{}
	}
	p := v.chain[len(v.chain)-1]
	return Head{p.Number, p.hash, p.To, p.At}
}
