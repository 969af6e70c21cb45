package message

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/zstd"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// HeaderEncoding says how the body travels, where that is not as it is.
const HeaderEncoding = "Fairlead-Encoding"

// encodingZstd is the one encoding there is: a single frame of RFC 8878 that says
// how large its content is.
const encodingZstd = "zstd"

// Bodies of packFrom bytes and more travel packed if that saves a tenth of them:
// below it, headers and TLS are most of what travels.
const (
	packFrom  = 512
	packSaves = 10 // one in so many
)

// mostUnpacked is how large a body may be that travels packed, in bytes, by what its
// message is about; 0 for what never does. Trust sets, tokens and requests to join
// are read before it is known who signed them, and people read them. The document
// of a rollout holds one that is packed itself.
func mostUnpacked(s subjects.Subject) int {
	switch s.Direction {
	case subjects.Command:
		return MaxBody
	case subjects.Event, directionReported, directionResource, directionQueue:
		return 1 << 20 // what a broker takes at most, so what they can be unpacked
	case directionDesired, directionOrder:
		return unpackedMost // thousands of hosts, a hundred thousand names
	case subjects.Rollout:
		if s.Method != subjects.RolloutDoc {
			return 1 << 20
		}
	}
	return 0
}

// unpackedMost is the largest of these, and so what a frame behind the first may
// take before it is seen that there are two.
const unpackedMost = 8 << 20

// Wire is the body as it travels. The signature covers it.
func (m Message) Wire() []byte {
	if m.packed != nil {
		return m.packed
	}
	return m.Body
}

// Drop forgets the body of a message that is kept for its envelope. Its signature
// fits no longer.
func (m *Message) Drop() { m.Body, m.packed = nil, nil }

// Kept is a body that is kept for later as it travelled, packed or not, and nothing
// else of its message.
type Kept struct {
	wire   []byte
	packed int // the most that it may hold when unpacked, in bytes; 0 is one that is not packed
}

// Keep is the body of a message that was verified.
func (m Message) Keep() Kept {
	if m.packed != nil {
		return Kept{bytes.Clone(m.packed), mostUnpacked(m.Subject)}
	}
	return Kept{bytes.Clone(m.Body), 0}
}

// Body is what was kept, nil for nothing.
func (k Kept) Body() []byte {
	if k.packed == 0 {
		return k.wire
	}
	body, _ := unpack(k.wire, k.packed) // as it was before it was kept
	return body
}

// Unpack fills in Body where the message arrived packed. It bounds what is taken
// from memory, and not who may have it done: do it when the message is verified.
// The error is Invalid.
func (m *Message) Unpack() error {
	if m.packed == nil || m.Body != nil {
		return nil
	}
	body, err := unpack(m.packed, mostUnpacked(m.Subject))
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "body of %s %s: %w", m.Subject, m.ID, err)
	}
	m.Body = body
	return nil
}

// pack decides how the body travels. A body that would not be unpacked again is
// left as it is: whoever carries it says that it is too large.
func (m *Message) pack() {
	m.packed = nil
	if len(m.Body) < packFrom || len(m.Body) > mostUnpacked(m.Subject) {
		return
	}
	e := packers.Get().(*zstd.Encoder)
	packed := e.EncodeAll(m.Body, make([]byte, 0, len(m.Body)/2))
	packers.Put(e)
	if len(packed) <= len(m.Body)-len(m.Body)/packSaves {
		m.packed = packed
	}
}

// packers and unpackers are shared by all agents of a process, and what is idle of
// them goes with the garbage: one packer takes 0.3 MiB, one unpacker 20 KiB. Why
// the fastest level: docs/adr/0018-compression.md.
var (
	packers     = sync.Pool{New: func() any { return newPacker() }}
	partPackers = sync.Pool{New: func() any { return newPacker(zstd.WithSingleSegment(true)) }} // says its size also where that is below 256
	unpackers   = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(unpackedMost))
		if err != nil {
			panic(err)
		}
		return d
	}}
)

func newPacker(more ...zstd.EOption) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1 << 20), zstd.WithEncoderCRC(false)}, more...)...) // a digest says more than a checksum
	if err != nil { // only options that do not go together can cause it
		panic(err)
	}
	return e
}

// unpack takes memory for what the frame says that it holds, once that is known to
// be no more than most, and holds it to that.
func unpack(packed []byte, most int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(packed); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "it is not packed with %s: %w", encodingZstd, err)
	}
	switch {
	case h.Skippable || !h.HasFCS || h.DictionaryID != 0:
		return nil, fleet.Errorf(fleet.Invalid, "it is packed in a way that does not say how large it is")
	case h.FrameContentSize > uint64(most):
		return nil, fleet.Errorf(fleet.Invalid, "it has %d bytes when unpacked: at most %d", h.FrameContentSize, most)
	}
	d := unpackers.Get().(*zstd.Decoder)
	defer unpackers.Put(d)
	body, err := d.DecodeAll(packed, make([]byte, 0, h.FrameContentSize))
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "it cannot be unpacked: %w", err)
	}
	if uint64(len(body)) != h.FrameContentSize {
		return nil, fleet.Errorf(fleet.Invalid, "it says that it has %d bytes when unpacked, and has %d", h.FrameContentSize, len(body))
	}
	return body, nil
}
