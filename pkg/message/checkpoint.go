package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Checkpoint is what a station signs about the audit: what stood at each of
// some sequences. Each names the one before it, so that whoever knows the last
// knows them all, and nobody can take out or put in what lies between.
type Checkpoint struct {
	Number   uint64 `json:"number"`             // 1, 2, …
	Previous string `json:"previous,omitempty"` // CheckpointHash of the one before, "" for the first
	// From and To are the first and the last sequence that it covers, and each
	// between them; To is From-1 where nothing was new.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// After is when the last message that is covered before From was stored, by
	// the broker's clock: what stood before this checkpoint is no younger.
	After time.Time `json:"after,omitzero"`
	Marks []byte    `json:"marks,omitempty"` // a Mark for each sequence
	// Digest is the Marker's, in hex: it proves what the shorter marks locate.
	Digest string `json:"digest"`
	// KeepSeconds is how long the audit kept messages then.
	KeepSeconds float64   `json:"keepSeconds"`
	At          time.Time `json:"at"` // by the station's own clock, beside the broker's
	// Ended is set where the audit ended at this sequence although the checkpoint
	// before covered more: it was cut off, or made anew.
	Ended *uint64 `json:"ended,omitempty"`
}

// MostMarks is how many messages a checkpoint covers at most: 32 KiB of base64.
const MostMarks = 1024

// CheckpointSubject is what the signature of a checkpoint covers.
func CheckpointSubject() subjects.Subject {
	return subjects.Subject{Node: "fleet", Direction: "checkpoint", Method: "audit", Domain: "audit"}
}

// SignCheckpoint makes the signed document.
func SignCheckpoint(c Checkpoint, from string, signer Signer) (Message, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return Message{}, err
	}
	m := Message{Subject: CheckpointSubject(), ID: NewID(), From: from, Body: body}
	return m, m.Sign(signer)
}

// OpenCheckpoint reads what a stream keeps of a checkpoint: whole, and signed
// by the holder of its key, whoever that is. The error is Refused or Invalid.
func OpenCheckpoint(s Stored) (c Checkpoint, m Message, err error) {
	m, faults := DecodeAs(CheckpointSubject(), s.Headers, s.Body)
	if err := faults.Err(); err != nil {
		return c, m, err
	}
	if err := m.CheckSignature(); err != nil {
		return c, m, err
	}
	d := json.NewDecoder(bytes.NewReader(m.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, m, fleet.Errorf(fleet.Invalid, "read checkpoint: %w", err)
	}
	if c.Number == 0 || c.From == 0 || c.To+1 < c.From || c.To-c.From+1 > MostMarks || uint64(len(c.Marks)) != (c.To-c.From+1)*MarkSize {
		return c, m, fleet.Errorf(fleet.Invalid, "checkpoint %d has %d bytes of marks for sequences %d to %d", c.Number, len(c.Marks), c.From, c.To)
	}
	return c, m, nil
}

// CheckpointHash names a checkpoint: the SHA-256, in hex, of all that its
// signature covers.
func CheckpointHash(m Message) string {
	data, err := m.signed()
	if err != nil { // then nobody can have signed it
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Mark is the mark of a sequence that the checkpoint covers.
func (c Checkpoint) Mark(sequence uint64) Mark {
	at := (sequence - c.From) * MarkSize
	return Mark(c.Marks[at : at+MarkSize])
}

// Until is when the last message that is covered was stored, by the broker's
// clock; zero where none ever was.
func (c Checkpoint) Until() time.Time {
	if len(c.Marks) == 0 {
		return c.After
	}
	return c.Mark(c.To).At()
}

// Keep is how long the audit kept messages then.
func (c Checkpoint) Keep() time.Duration { return time.Duration(c.KeepSeconds * float64(time.Second)) }
