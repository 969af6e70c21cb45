package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// meta is what a bbolt file's meta page says: where the tree begins, and how
// many pages there are. There are two, written in turn.
type meta struct{ pageSize, root, freelist, pages, txid uint64 }

// newestMeta reads the two meta pages. Where the first is broken, the size of
// its page is not known and each is tried.
func newestMeta(file io.ReaderAt, size int64) (m meta, note string, err error) {
	const broken = "its newest meta page may be broken; the last write may be missing"
	first, err := readMeta(file, 0)
	if err == nil {
		second, err := readMeta(file, int64(first.pageSize))
		switch {
		case err != nil || second.pageSize != first.pageSize:
			return first, broken, nil
		case second.txid > first.txid:
			return second, "", nil
		}
		return first, "", nil
	}
	for pageSize := int64(1 << 10); pageSize <= 64<<10 && pageSize < size; pageSize <<= 1 {
		if second, err := readMeta(file, pageSize); err == nil && second.pageSize == uint64(pageSize) {
			return second, broken, nil
		}
	}
	return meta{}, "", err
}

func readMeta(file io.ReaderAt, at int64) (meta, error) {
	var b [16 + 64]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		return meta{}, fmt.Errorf("meta page: %w", err)
	}
	order, body := binary.NativeEndian, b[16:]
	sum := fnv.New64a()
	sum.Write(body[:56])
	m := meta{
		pageSize: uint64(order.Uint32(body[8:])), root: order.Uint64(body[16:]),
		freelist: order.Uint64(body[32:]), pages: order.Uint64(body[40:]), txid: order.Uint64(body[48:]),
	}
	switch {
	case order.Uint32(body) != 0xED0CDAED || order.Uint32(body[4:]) != 2:
		return m, errors.New("not a bbolt file")
	case order.Uint64(body[56:]) != sum.Sum64():
		return m, errors.New("meta page: wrong checksum")
	case m.pageSize < 1<<10 || m.pageSize > 64<<10 || m.pageSize&(m.pageSize-1) != 0 || m.pages < 3:
		return m, errors.New("meta page: impossible sizes")
	}
	return m, nil
}
