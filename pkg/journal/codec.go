package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"time"

	"fairlead/pkg/fleet"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts a checksum of key and value before the value: bbolt has none for
// its pages, and a flipped bit in an answer would go out signed.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum), value...)
}

// unseal gives the value within the sealed one.
func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 || crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, sealed[4:]) != binary.BigEndian.Uint32(sealed) {
		return nil, fmt.Errorf("value of key %.64q: wrong checksum", key)
	}
	return sealed[4:], nil
}

// weigh is a value's part of the sum of all.
func weigh(bucket, key, sealed []byte) uint64 {
	h := fnv.New64a()
	h.Write(bucket)
	h.Write([]byte{0})
	h.Write(key)
	h.Write(sealed[:min(4, len(sealed))])
	return h.Sum64()
}

// position is a key that sorts by number.
func position(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func positionOf(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// encoder writes fields one after the other. Fields are only ever added at
// the end, so that an older file can be read: a decoder at its end gives zero.
type encoder []byte

func (e *encoder) bytes(b []byte) {
	*e = append(binary.AppendUvarint(*e, uint64(len(b))), b...)
}
func (e *encoder) string(s string)  { e.bytes([]byte(s)) }
func (e *encoder) number(n uint64)  { *e = binary.AppendUvarint(*e, n) }
func (e *encoder) time(t time.Time) { e.number(nanos(t)) }

// nanos is a time as nanoseconds since 1970, 0 for the zero time and before.
func nanos(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.UnixNano())
}

type decoder struct {
	data []byte
	err  error
}

func (d *decoder) number() uint64 {
	if len(d.data) == 0 {
		return 0
	}
	n, size := binary.Uvarint(d.data)
	if size <= 0 {
		d.data, d.err = nil, errors.New("number is cut")
		return 0
	}
	d.data = d.data[size:]
	return n
}

// bytes gives a copy: what bbolt gives is valid only in its transaction.
func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.data)) {
		d.data, d.err = nil, errors.New("field is cut")
		return nil
	}
	if n == 0 {
		return nil
	}
	b := append([]byte(nil), d.data[:n]...)
	d.data = d.data[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) time() time.Time {
	n := d.number()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}

// checkKey refuses a key or id that cannot be stored.
func checkKey(what, key string) error {
	if key == "" || len(key) > maxKey {
		return fleet.Errorf(fleet.Invalid, "%s has %d bytes, want 1 to %d", what, len(key), maxKey)
	}
	return nil
}

// checkSize refuses what is too large to be one value.
func checkSize(what string, data []byte) error {
	if len(data) > MaxBytes {
		return fleet.Errorf(fleet.Invalid, "%s has %d bytes, at most %d are kept", what, len(data), MaxBytes)
	}
	return nil
}
