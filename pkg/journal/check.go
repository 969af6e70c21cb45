package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// checkFile walks a bbolt file of version 2 from its newest meta page and
// errs on the first thing that is not as bbolt writes it, whose seal is
// broken, or that is missing (see tally.sum). It reads with ReadAt and checks
// every bound, because bbolt does neither: it follows offsets through a
// memory map, and a truncated or overwritten file kills its process (SIGBUS,
// or a panic in a goroutine of its own). The layout is in bbolt's
// internal/common.
//
// A file of which only one meta page is broken is whole as of the one before;
// the note then says so. That page is one disk sector, so a crash alone does
// not do it.
func checkFile(file io.ReaderAt, size int64) (note string, err error) {
	m, note, err := newestMeta(file, size)
	if err != nil {
		return "", err
	}
	if m.pages > uint64(size)/m.pageSize {
		return "", fmt.Errorf("truncated: %d bytes of %d", size, m.pages*m.pageSize)
	}
	c := &checker{file: file, meta: m, seen: make([]bool, m.pages)}
	c.seen[0], c.seen[1] = true, true
	if err := c.walk(m.root, nil, nil, 0, nil); err != nil {
		return "", err
	}
	if c.sum != c.wantSum || !c.hasSum && m.txid > 1 {
		return "", errors.New("something is missing or from another time")
	}
	if m.freelist != math.MaxUint64 {
		return note, c.free(m.freelist)
	}
	return note, nil
}

type checker struct {
	file    io.ReaderAt
	meta    meta
	seen    []bool
	sum     uint64 // of the values that were seen
	wantSum uint64 // as the file says
	hasSum  bool
}

// The flags of pages and of leaf elements.
const (
	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10
	isBucket     = 0x01
)

// page reads a page with its overflow, marks it, and gives it from its header on.
func (c *checker) page(id uint64) (flags uint16, count int, page []byte, err error) {
	var head [16]byte
	if id >= c.meta.pages {
		return 0, 0, nil, fmt.Errorf("page %d is beyond the last", id)
	}
	if _, err := c.file.ReadAt(head[:], int64(id*c.meta.pageSize)); err != nil {
		return 0, 0, nil, fmt.Errorf("page %d: %w", id, err)
	}
	order := binary.NativeEndian
	length := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head[:]) != id || length > c.meta.pages-id {
		return 0, 0, nil, fmt.Errorf("page %d: impossible header", id)
	}
	for i := range length {
		if c.seen[id+i] {
			return 0, 0, nil, fmt.Errorf("page %d: used twice", id+i)
		}
		c.seen[id+i] = true
	}
	page = make([]byte, length*c.meta.pageSize)
	if _, err := c.file.ReadAt(page, int64(id*c.meta.pageSize)); err != nil {
		return 0, 0, nil, fmt.Errorf("page %d: %w", id, err)
	}
	return order.Uint16(head[8:]), int(order.Uint16(head[10:])), page, nil
}

// walk checks a page and all below it, whose keys are from low to before high
// (nil: no bound). The bucket is nil for the root. The depth, far beyond what bbolt reaches, bounds the stack.
func (c *checker) walk(id uint64, low, high []byte, depth int, bucket []byte) error {
	if depth > 64 {
		return fmt.Errorf("page %d: too deep", id)
	}
	flags, count, page, err := c.page(id)
	if err != nil {
		return err
	}
	switch flags {
	case pageLeaf:
		err = c.leaf(page, count, low, high, depth, bucket)
	case pageBranch:
		err = c.branch(page, count, low, high, depth, bucket)
	default:
		err = fmt.Errorf("flags %#x", flags)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (c *checker) branch(page []byte, count int, low, high []byte, depth int, bucket []byte) error {
	if count == 0 {
		return errors.New("empty branch")
	}
	order := binary.NativeEndian
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := 16 + 16*i
		if at+16 > len(page) {
			return errors.New("too many elements")
		}
		var ok bool
		if keys[i], ok = cut(page, at, order.Uint32(page[at:]), order.Uint32(page[at+4:])); !ok {
			return errors.New("key beyond the page")
		}
		children[i] = order.Uint64(page[at+8:])
	}
	if err := ordered(keys, low, high); err != nil {
		return err
	}
	for i, child := range children {
		next := high
		if i+1 < count {
			next = keys[i+1]
		}
		if err := c.walk(child, keys[i], next, depth+1, bucket); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks the keys, the seals of values, and the buckets in it.
func (c *checker) leaf(page []byte, count int, low, high []byte, depth int, bucket []byte) error {
	order := binary.NativeEndian
	keys := make([][]byte, count)
	for i := range count {
		at := 16 + 16*i
		if at+16 > len(page) {
			return errors.New("too many elements")
		}
		pos, keyLength := order.Uint32(page[at+4:]), order.Uint32(page[at+8:])
		key, ok1 := cut(page, at, pos, keyLength)
		value, ok2 := cut(page, at, pos, keyLength+order.Uint32(page[at+12:]))
		if !ok1 || !ok2 || len(value) < len(key) {
			return errors.New("element beyond the page")
		}
		keys[i], value = key, value[len(key):]
		switch nested := order.Uint32(page[at:])&isBucket != 0; {
		case nested == (bucket != nil):
			return errors.New("bucket and value confused")
		case nested:
			if err := c.nested(key, value, depth); err != nil {
				return fmt.Errorf("bucket %q: %w", key, err)
			}
		default:
			if err := c.value(bucket, key, value); err != nil {
				return err
			}
		}
	}
	return ordered(keys, low, high)
}

// value checks a seal and adds it up.
func (c *checker) value(bucket, key, sealed []byte) error {
	value, err := unseal(key, sealed)
	if err != nil {
		return err
	}
	if bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, keySum) {
		c.wantSum, c.hasSum = positionOf(value), true
		return nil
	}
	c.sum += weigh(bucket, key, sealed)
	return nil
}

// nested checks one bucket: its root page's number, or in place of it the
// small page itself.
func (c *checker) nested(name, value []byte, depth int) error {
	if len(value) < 16 || len(name) == 0 {
		return errors.New("too short")
	}
	order := binary.NativeEndian
	if root := order.Uint64(value); root != 0 {
		return c.walk(root, nil, nil, depth+1, name)
	}
	if value = value[16:]; len(value) < 16 || order.Uint16(value[8:]) != pageLeaf {
		return errors.New("not a leaf")
	}
	return c.leaf(value, int(order.Uint16(value[10:])), nil, nil, depth+1, name)
}

// free checks that no page of the list of free ones is in use. The journal
// keeps no such list, but bbolt begins with one and its tools write one.
func (c *checker) free(id uint64) error {
	flags, count, page, err := c.page(id)
	if err != nil || flags != pageFreelist {
		return fmt.Errorf("free list: flags %#x: %w", flags, cmp.Or(err, errors.New("not a free list")))
	}
	order, at := binary.NativeEndian, 16
	if count == 0xFFFF { // the count is too large for the header and stands before the list
		count, at = int(min(order.Uint64(page[16:]), c.meta.pages)), 24
	}
	for ; count > 0; count, at = count-1, at+8 {
		if at+8 > len(page) {
			return errors.New("free list: too long")
		}
		if id := order.Uint64(page[at:]); id >= c.meta.pages || c.seen[id] {
			return fmt.Errorf("free list: page %d is in use", id)
		}
	}
	return nil
}

// cut is the length bytes at pos from the element at at.
func cut(page []byte, at int, pos, length uint32) ([]byte, bool) {
	from, to := uint64(at)+uint64(pos), uint64(at)+uint64(pos)+uint64(length)
	if to > uint64(len(page)) {
		return nil, false
	}
	return page[from:to], true
}

func ordered(keys [][]byte, low, high []byte) error {
	for i, key := range keys {
		switch {
		case i == 0 && low != nil && bytes.Compare(key, low) < 0,
			i > 0 && bytes.Compare(keys[i-1], key) >= 0,
			high != nil && bytes.Compare(key, high) >= 0:
			return fmt.Errorf("key %x is out of order", key)
		}
	}
	return nil
}
