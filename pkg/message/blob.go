package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"fairlead/pkg/fleet"
)

// A file travels in parts of BlobPart bytes, each stored under the SHA-256 of
// what it holds. Their digests, one behind the other, are cut and stored in the
// same way, and a list names those. Who has the list's digest from somebody that
// he trusts needs no other proof of anything, and nothing is larger than a part:
// what is longer a broker cannot pass on over a slow link in the time that it has.

// Bounds of a file.
const (
	// BlobPart is how large each part is but the last. Over the slowest link that
	// an agent's budget allows one takes a minute.
	BlobPart = 64 << 10
	// MaxBlob is the largest file.
	MaxBlob = 1 << 30
)

// Digest names a content: its SHA-256 in hexadecimal.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// ValidDigest reports whether a text is the name of a content.
func ValidDigest(text string) bool {
	if len(text) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Digests are SHA-256, one behind the other.
type Digests []byte

// Count is how many there are.
func (d Digests) Count() int { return len(d) / sha256.Size }

// At is one of them as it is written, from 0.
func (d Digests) At(i int) string {
	return hex.EncodeToString(d[i*sha256.Size : (i+1)*sha256.Size])
}

// Has reports whether a digest, as it is written, is one of them.
func (d Digests) Has(digest string) bool {
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != digest {
		return false
	}
	for i := range d.Count() {
		if bytes.Equal(d[i*sha256.Size:(i+1)*sha256.Size], sum) {
			return true
		}
	}
	return false
}

// pieces is how many parts so many bytes have.
func pieces(size int64) int { return int((size + BlobPart - 1) / BlobPart) }

// Blob is a file and its parts.
type Blob struct {
	Size   int64
	Digest string // of the whole
	Parts  Digests
}

// PartSize is how many bytes a part has, from 0.
func (b Blob) PartSize(i int) int { return int(min(BlobPart, b.Size-int64(i)*BlobPart)) }

// NewBlob reads a file of a size and lists its parts. The error is Invalid for one
// that is too large, Conflict for one that is shorter than it was.
func NewBlob(file io.ReaderAt, size int64) (b Blob, err error) {
	if size > MaxBlob {
		return b, fleet.Errorf(fleet.Invalid, "it has %d MiB, and a file may have %d: split it, or compress it", size>>20, MaxBlob>>20)
	}
	b.Size = size
	whole, part := sha256.New(), make([]byte, BlobPart)
	in := io.NewSectionReader(file, 0, size)
	for i := range pieces(size) {
		piece := part[:b.PartSize(i)]
		_, err := io.ReadFull(in, piece)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return b, fleet.Errorf(fleet.Conflict, "the file changed while it was read: send it when nobody writes to it")
		case err != nil:
			return b, fleet.Errorf(fleet.Invalid, "read the file: %w", err)
		}
		sum := sha256.Sum256(piece)
		b.Parts = append(b.Parts, sum[:]...)
		whole.Write(piece)
	}
	b.Digest = hex.EncodeToString(whole.Sum(nil))
	return b, nil
}

// BlobList is what a file's other contents follow from.
type BlobList struct {
	Size   int64   `json:"size"`
	Digest string  `json:"digest"` // of the whole file
	Index  Digests `json:"index"`  // of the contents that hold the parts' digests
}

// Encode is how the parts' digests and the list are stored, each under its own digest.
func (b Blob) Encode() (index [][]byte, list []byte, err error) {
	l := BlobList{Size: b.Size, Digest: b.Digest}
	for piece := range slices.Chunk(b.Parts, BlobPart) {
		sum := sha256.Sum256(piece)
		l.Index = append(l.Index, sum[:]...)
		index = append(index, piece)
	}
	list, err = json.Marshal(l)
	return index, list, err
}

// DecodeBlobList reads a list. The error is Invalid.
func DecodeBlobList(text []byte) (l BlobList, err error) {
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fleet.Errorf(fleet.Invalid, "is no list of a file's parts: %w", err)
	}
	if l.Size < 0 || l.Size > MaxBlob || !ValidDigest(l.Digest) || len(l.Index) != pieces(int64(pieces(l.Size)*sha256.Size))*sha256.Size {
		return l, fleet.Errorf(fleet.Invalid, "is no list of a file's parts: %d bytes by %d of digests", l.Size, len(l.Index))
	}
	return l, nil
}

// Blob is the list with the contents of its index. The error is Invalid.
func (l BlobList) Blob(parts []byte) (Blob, error) {
	if len(parts) != pieces(l.Size)*sha256.Size {
		return Blob{}, fleet.Errorf(fleet.Invalid, "the list of a file of %d bytes has %d of digests", l.Size, len(parts))
	}
	return Blob{l.Size, l.Digest, parts}, nil
}
