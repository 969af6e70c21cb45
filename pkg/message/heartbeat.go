package message

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// Heartbeat is how a node says that it lives. It is spoken and never stored, so
// it is small: one line of text, the signature last.
type Heartbeat struct {
	Instance string // of the agent: new at each of its starts, a ULID
	Counter  uint64 // grows by one with each heartbeat of the instance
	BootID   string // of the host's kernel
	// At is the broker's clock as the node knows it: behind by what messages
	// travel. Clock is the node's own.
	At, Clock time.Time
	Every     time.Duration // the longest time to the next
	Observed  uint64        // revision that nginx was proven to run last
	Spool     int           // batches of logs that wait on the node
	Outbox    int           // answers and events that do
	// Asked is the id of the question that it answers; "" for one that came by itself.
	Asked string
}

const (
	heartbeatVersion = "1"
	heartbeatFields  = 11 // the signature with them
	// One that answers has the question's id behind its version.
	answerVersion = "2"
	// maxHeartbeat bounds one, in bytes: about 230 are usual.
	maxHeartbeat = 1024
)

// text is what is signed, without the node.
func (h Heartbeat) text() []byte {
	boot := h.BootID
	if boot == "" {
		boot = "-"
	}
	b := make([]byte, 0, 256)
	if h.Asked == "" {
		b = append(b, heartbeatVersion...)
	} else {
		b = append(append(b, answerVersion+" "...), h.Asked...)
	}
	b = append(append(b, ' '), h.Instance...)
	b = strconv.AppendUint(append(b, ' '), h.Counter, 10)
	b = append(append(b, ' '), boot...)
	b = strconv.AppendInt(append(b, ' '), h.At.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, ' '), h.Clock.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, ' '), h.Every.Milliseconds(), 10)
	b = strconv.AppendUint(append(b, ' '), h.Observed, 10)
	b = strconv.AppendInt(append(b, ' '), int64(h.Spool), 10)
	return strconv.AppendInt(append(b, ' '), int64(h.Outbox), 10)
}

// signedHeartbeat begins with a byte that no UTF-8 has, as every signed text here.
func signedHeartbeat(node string, text []byte) []byte {
	b := make([]byte, 0, 320)
	b = append(b, "\xfffairlead heartbeat 1\n"...)
	b = append(append(b, node...), '\n')
	return append(b, text...)
}

// SignHeartbeat is a node's heartbeat as it travels.
func SignHeartbeat(node string, h Heartbeat, s Signer) ([]byte, error) {
	if h.Asked != "" && !named(h.Asked) {
		return nil, fleet.Errorf(fleet.Invalid, "sign heartbeat: %q is no question's id", h.Asked)
	}
	if !plain(h.Instance) || !plain(h.BootID) || h.Instance == "" || strings.ContainsRune(h.Instance+h.BootID, ' ') {
		return nil, fleet.Errorf(fleet.Invalid, "sign heartbeat: instance %q or boot id %q is not one word", h.Instance, h.BootID)
	}
	text := h.text()
	signature, err := s.Sign(signedHeartbeat(node, text))
	if err != nil {
		return nil, fmt.Errorf("sign heartbeat: %w", err)
	}
	return base64.RawURLEncoding.AppendEncode(append(text, ' '), signature), nil
}

// named reports whether an id is a question's.
func named(id string) bool {
	_, ok := CreatedAt(id)
	return ok && plain(id)
}

// ReadHeartbeat reads what SignHeartbeat made, and proves nothing. The error is
// Invalid.
func ReadHeartbeat(data []byte) (h Heartbeat, err error) {
	if len(data) > maxHeartbeat {
		return h, fleet.Errorf(fleet.Invalid, "heartbeat: %d bytes are more than %d", len(data), maxHeartbeat)
	}
	f := strings.Split(string(data), " ")
	asked := ""
	if len(f) == heartbeatFields+1 && f[0] == answerVersion {
		if asked = f[1]; !named(asked) {
			return h, fleet.Errorf(fleet.Invalid, "heartbeat: it answers %q, which is no question's id", asked)
		}
		f = f[1:]
		f[0] = heartbeatVersion
	}
	if len(f) != heartbeatFields || f[0] != heartbeatVersion {
		return h, fleet.Errorf(fleet.Invalid, "heartbeat: not one of version %s", heartbeatVersion)
	}
	number := func(text string, bits int) int64 {
		n, nerr := strconv.ParseInt(text, 10, bits)
		if nerr != nil || n < 0 {
			err = fleet.Errorf(fleet.Invalid, "heartbeat: %q is not a number", text)
		}
		return n
	}
	if _, ok := CreatedAt(f[1]); !ok {
		return h, fleet.Errorf(fleet.Invalid, "heartbeat: instance %q is not a ULID", f[1])
	}
	h = Heartbeat{Asked: asked, Instance: f[1], Counter: uint64(number(f[2], 64)), BootID: strings.TrimPrefix(f[3], "-"),
		At: time.UnixMilli(number(f[4], 64)), Clock: time.UnixMilli(number(f[5], 64)),
		Every: time.Duration(number(f[6], 32)) * time.Millisecond, Observed: uint64(number(f[7], 64)),
		Spool: int(number(f[8], 32)), Outbox: int(number(f[9], 32))}
	if err == nil && h.Every <= 0 {
		err = fleet.Errorf(fleet.Invalid, "heartbeat: no time to the next")
	}
	return h, err
}

// VerifyHeartbeat reports whether the holder of a key signed this heartbeat for
// the node. The error is Refused.
func VerifyHeartbeat(node string, data []byte, key string) error {
	public, err := publicKey(key)
	if err != nil {
		return err
	}
	end := strings.LastIndexByte(string(data), ' ')
	if end < 0 {
		return fleet.Errorf(fleet.Refused, "the heartbeat is not signed")
	}
	signature, err := base64.RawURLEncoding.DecodeString(string(data[end+1:]))
	if err != nil || !ed25519.Verify(public, signedHeartbeat(node, data[:end]), signature) {
		return fleet.Errorf(fleet.Refused, "the heartbeat is not what key %s signed for %s", short(key), node)
	}
	return nil
}
