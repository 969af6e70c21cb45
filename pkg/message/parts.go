package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"

	"github.com/klauspost/compress/zstd"

	"fairlead/pkg/fleet"
)

// What a node should be travels in parts where it is long (docs/adr/0019). The
// resources are written one behind the other, in order, each with a comma behind it, and
// that text is cut; each part is packed and named by the SHA-256 of what travels. A
// list stands in the place of the resources in the signed document and proves all of them.

// Bounds of a desired state in parts.
const (
	// PartMost is how many bytes of text a part has at most. Packed they may be some
	// more, where nothing can be saved.
	PartMost = 64 << 10
	// MaxWhole is how many bytes the text of all parts has at most: 100,000 hosts.
	MaxWhole = 32 << 20
	// maxParts is some times as many as MaxWhole falls into. Their digests take a quarter of a message.
	maxParts = 8192
	// WholeMost is the packed size, in bytes, up to which a desired state stays one message.
	// That is some 650 hosts, and a change of one of them would cost 6 KiB in parts.
	WholeMost = 16 << 10
)

// Piece is a resource as it is written into parts.
type Piece struct {
	ID   string // decides with others where the text is cut
	Text []byte // JSON
}

// PartList names the parts of what was cut.
type PartList struct {
	Resources int     `json:"resources"` // how many there are
	Size      int64   `json:"size"`      // of the text of all parts, in bytes
	Digests   Digests `json:"digests"`
}

func (l PartList) check() error {
	n := l.Digests.Count()
	if l.Resources < 1 || l.Size < 1 || l.Size > MaxWhole || n < 1 || n > maxParts || len(l.Digests) != n*sha256.Size || l.Size > int64(n)*PartMost {
		return fleet.Errorf(fleet.Invalid, "its list of parts is none: %d bytes of %d resources by %d bytes of digests", l.Size, l.Resources, len(l.Digests))
	}
	return nil
}

// Cut cuts pieces that are in order, and returns the parts packed. Where it cuts follows
// from the pieces' IDs, so that of two lists which differ by one piece all parts are the
// same but one, seldom a few. The error is Invalid for what is too large.
func Cut(pieces []Piece) (l PartList, parts [][]byte, err error) {
	l.Resources = len(pieces)
	c := cutting{pieces: pieces, order: make([]uint64, len(pieces)), ends: make([]int, len(pieces)+1)}
	for i, p := range pieces {
		sum := sha256.Sum256([]byte(p.ID))
		c.order[i] = binary.BigEndian.Uint64(sum[:])
		c.ends[i+1] = c.ends[i] + len(p.Text) + 1
	}
	l.Size = int64(c.ends[len(pieces)])
	if l.Size > MaxWhole {
		return l, nil, fleet.Errorf(fleet.Invalid, "it has %d MiB of resources, and a node can have %d", l.Size>>20, MaxWhole>>20)
	}
	e := partPackers.Get().(*zstd.Encoder)
	defer partPackers.Put(e)
	c.cut(0, len(pieces), func(text []byte) {
		packed := e.EncodeAll(text, make([]byte, 0, len(text)/8))
		sum := sha256.Sum256(packed)
		l.Digests, parts = append(l.Digests, sum[:]...), append(parts, packed)
	})
	if len(parts) > maxParts {
		return l, nil, fleet.Errorf(fleet.Invalid, "its %d resources fall into %d parts, and at most %d are taken: other names make them fewer", l.Resources, len(parts), maxParts)
	}
	return l, parts, nil
}

type cutting struct {
	pieces []Piece
	order  []uint64 // by the pieces' IDs: it is cut behind the least first
	ends   []int    // of the text up to each piece
}

// cut hands over the text of some pieces: in one if it is no longer than a part, else
// on both sides of the piece that its ID chooses. What becomes of a side does not
// depend on the other. A piece that is longer than a part is cut like a file.
func (c cutting) cut(from, to int, hand func(text []byte)) {
	for to-from > 1 && c.ends[to]-c.ends[from] > PartMost {
		at := from
		for i := from; i < to-1; i++ {
			if c.order[i] < c.order[at] {
				at = i
			}
		}
		c.cut(from, at+1, hand)
		from = at + 1
	}
	var text []byte
	for _, p := range c.pieces[from:to] {
		text = append(append(text, p.Text...), ',')
	}
	for ; len(text) > PartMost; text = text[PartMost:] {
		hand(text[:PartMost])
	}
	if len(text) > 0 {
		hand(text)
	}
}

// PartsOf is the list in a document, nil in one that is whole. The error is Invalid.
func PartsOf(document []byte) (*PartList, error) {
	var holds struct {
		Parts *PartList `json:"parts"`
	}
	if err := json.Unmarshal(document, &holds); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "it is no desired state: %w", err)
	}
	if holds.Parts == nil {
		return nil, nil
	}
	return holds.Parts, holds.Parts.check()
}

// Whole is a document with its resources in it, whether it came whole or in parts: part
// gives each by its digest, as it travels, and is proven here. The error is that of
// part, or Invalid where it is not what the list says.
func Whole(document []byte, part func(digest string) ([]byte, error)) ([]byte, error) {
	l, err := PartsOf(document)
	if err != nil || l == nil {
		return document, err
	}
	text := []byte("[")
	for i := range l.Digests.Count() {
		packed, err := part(l.Digests.At(i))
		if err != nil {
			return nil, err
		}
		plain, err := openPart(l.Digests.At(i), packed)
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "part %d of %d: %w", i+1, l.Digests.Count(), err)
		}
		if text = append(text, plain...); int64(len(text)) > l.Size+1 {
			break
		}
	}
	if int64(len(text)) != l.Size+1 || !bytes.HasSuffix(text, []byte(",")) {
		return nil, fleet.Errorf(fleet.Invalid, "its parts do not have the %d bytes that its list says", l.Size)
	}
	text[len(text)-1] = ']'
	fields := make(map[string]json.RawMessage)
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "it is no desired state: %w", err)
	}
	delete(fields, "parts")
	fields["resources"] = text
	whole, err := json.Marshal(fields)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "its parts are no resources: %w", err)
	}
	return whole, nil
}

func openPart(digest string, packed []byte) ([]byte, error) {
	if got := sha256.Sum256(packed); hex.EncodeToString(got[:]) != digest {
		return nil, fleet.Errorf(fleet.Invalid, "it is something else, with the digest %x", got)
	}
	return unpack(packed, PartMost)
}
