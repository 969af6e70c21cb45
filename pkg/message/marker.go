package message

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"time"
)

// Mark is what a checkpoint says of one stored message: when it was stored, by
// the broker's clock, and the first 16 bytes of the SHA-256 of what it is.
type Mark [MarkSize]byte

// MarkSize is a mark's size in bytes.
const MarkSize = 8 + 16

// At is when the message was stored.
func (m Mark) At() time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(m[:8]))).UTC() }

// Same reports whether two marks are of the same message, whenever it was stored.
func (m Mark) Same(other Mark) bool { return m.Content() == other.Content() }

// Content is the part that tells what the message is.
func (m Mark) Content() [16]byte { return [16]byte(m[8:]) }

// Marker makes the marks of messages of the audit, one after the other, and the
// digest over all of them. The zero Marker has none. It is for one goroutine.
type Marker struct {
	digest hash.Hash // over the times and the whole hashes
	marks  []byte
	part   []byte // of a message, without its body
	names  []string
	one    hash.Hash
	sum    [sha256.Size]byte
}

// Add takes the next message and returns its mark.
func (k *Marker) Add(s Stored) Mark {
	if k.digest == nil {
		k.digest, k.one = sha256.New(), sha256.New()
	}
	k.one.Reset()
	k.one.Write(k.head(s))
	k.one.Write(s.Body)
	sum := k.one.Sum(k.sum[:0])
	var m Mark
	binary.BigEndian.PutUint64(m[:8], uint64(s.At.UnixNano()))
	copy(m[8:], sum)
	k.digest.Write(m[:8])
	k.digest.Write(sum)
	k.marks = append(k.marks, m[:]...)
	return m
}

// head is a message but for its body, each part behind its length, so that no
// two messages look the same. Headers are sorted by name, since a reader does
// not learn in which order they stood.
func (k *Marker) head(s Stored) []byte {
	b := k.part[:0]
	text := func(t string) {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	text(s.Subject)
	k.names = k.names[:0]
	for name := range s.Headers {
		k.names = append(k.names, name)
	}
	slices.Sort(k.names)
	b = binary.AppendUvarint(b, uint64(len(k.names)))
	for _, name := range k.names {
		text(name)
		b = binary.AppendUvarint(b, uint64(len(s.Headers[name])))
		for _, value := range s.Headers[name] {
			text(value)
		}
	}
	k.part = b
	return b
}

// Len is how many messages it has taken since Take.
func (k *Marker) Len() int { return len(k.marks) / MarkSize }

// Take returns the marks and the digest of all messages since the last Take.
func (k *Marker) Take() (marks []byte, digest string) {
	if k.digest == nil {
		k.digest, k.one = sha256.New(), sha256.New()
	}
	marks, digest = k.marks, hex.EncodeToString(k.digest.Sum(nil))
	k.marks = nil
	k.digest.Reset()
	return marks, digest
}
