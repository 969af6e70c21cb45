// Package tampertest does to a stopped broker what somebody can who has its
// disk: it reads a stream's messages out of nats-server's files and writes
// others in their place, with any subject, header, body, time and sequence.
// The broker that starts on them cannot tell. It promises nothing but that; it
// is for tests that must find out.
package tampertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/highwayhash"
)

// Record is a stored message.
type Record struct {
	Sequence uint64
	At       time.Time
	Subject  string
	Header   []byte // as it travels: a line with the protocol, one for each header, an empty one
	Body     []byte
}

// Set changes a header's value, or adds the header.
func (r *Record) Set(name, value string) {
	lines := strings.Split(strings.TrimSuffix(string(r.Header), "\r\n\r\n"), "\r\n")
	if len(r.Header) == 0 {
		lines = []string{"NATS/1.0"}
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	r.Header = []byte(strings.Join(append(lines, name+": "+value), "\r\n") + "\r\n\r\n")
}

// Stream is a stream's files.
type Stream struct {
	t    testing.TB
	name string
	dir  string
}

// Open finds the files of an account's stream below a broker's StoreDir.
func Open(t testing.TB, store, account, name string) Stream {
	t.Helper()
	dir := filepath.Join(store, "jetstream", account, "streams", name, "msgs")
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	return Stream{t, name, dir}
}

// Marks in a record's length and sequence, and the sizes of its parts: length,
// sequence, time, length of the subject; subject; length of the headers,
// headers; body; hash.
const (
	hasHeader  = 1 << 31
	notStored  = 3 << 62 // erased, or a mark that something was
	headSize   = 4 + 8 + 8 + 2
	hashedFrom = 4
	hashedTo   = 4 + 8 + 8
	hashSize   = 8
)

// Read returns all messages, in order.
func (s Stream) Read() (all []Record) {
	s.t.Helper()
	for _, path := range s.blocks() {
		data, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		for len(data) > 0 {
			length := binary.LittleEndian.Uint32(data)
			whole := data[:length&^hasHeader]
			data = data[len(whole):]
			if r := parse(whole, length&hasHeader != 0); r.Sequence&notStored == 0 {
				all = append(all, r)
			}
		}
	}
	return all
}

func parse(whole []byte, header bool) Record {
	r := Record{
		Sequence: binary.LittleEndian.Uint64(whole[4:]),
		At:       time.Unix(0, int64(binary.LittleEndian.Uint64(whole[12:]))),
	}
	rest := bytes.Clone(whole[headSize : len(whole)-hashSize])
	subject := binary.LittleEndian.Uint16(whole[20:])
	r.Subject, rest = string(rest[:subject]), rest[subject:]
	if header {
		size := binary.LittleEndian.Uint32(rest)
		r.Header, rest = rest[4:4+size], rest[4+size:]
	}
	r.Body = rest
	return r
}

// Write puts messages in the place of all there are. Sequences must grow.
func (s Stream) Write(all []Record) {
	s.t.Helper()
	for _, path := range append(s.blocks(), filepath.Join(s.dir, "index.db")) { // made anew from the messages
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			s.t.Fatal(err)
		}
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", s.name, 1))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		s.t.Fatal(err)
	}
	var out []byte
	for _, r := range all {
		head := make([]byte, headSize)
		length := headSize + len(r.Subject) + len(r.Body) + hashSize
		if len(r.Header) > 0 {
			length += 4 + len(r.Header)
			length |= hasHeader
		}
		binary.LittleEndian.PutUint32(head, uint32(length))
		binary.LittleEndian.PutUint64(head[4:], r.Sequence)
		binary.LittleEndian.PutUint64(head[12:], uint64(r.At.UnixNano()))
		binary.LittleEndian.PutUint16(head[20:], uint16(len(r.Subject)))
		out = append(append(out, head...), r.Subject...)
		if len(r.Header) > 0 {
			out = append(binary.LittleEndian.AppendUint32(out, uint32(len(r.Header))), r.Header...)
		}
		out = append(out, r.Body...)
		hash.Reset()
		for _, part := range [][]byte{head[hashedFrom:hashedTo], []byte(r.Subject), r.Header, r.Body} {
			hash.Write(part)
		}
		out = hash.Sum(out)
	}
	if len(out) == 0 {
		return
	}
	if err := os.WriteFile(filepath.Join(s.dir, "1.blk"), out, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Change reads all messages, has them changed, and writes them.
func (s Stream) Change(f func([]Record) []Record) {
	s.t.Helper()
	s.Write(f(s.Read()))
}

// Remove removes the stream with all that the broker knows of it.
func (s Stream) Remove() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Dir(s.dir)); err != nil {
		s.t.Fatal(err)
	}
}

// Numbered gives messages sequences without a gap, from the first one's on.
func Numbered(all []Record) []Record {
	for i := range all {
		all[i].Sequence = all[0].Sequence + uint64(i)
	}
	return all
}

// blocks are the files with messages, the oldest first.
func (s Stream) blocks() []string {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.dir, "*.blk"))
	if err != nil {
		s.t.Fatal(err)
	}
	number := func(path string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".blk"))
		if err != nil {
			s.t.Fatal(err)
		}
		return n
	}
	slices.SortFunc(paths, func(a, b string) int { return number(a) - number(b) })
	return paths
}
