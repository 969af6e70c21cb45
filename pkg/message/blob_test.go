package message_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func TestAFilesListLeadsToEachOfItsParts(t *testing.T) {
	for _, size := range []int{0, 1, message.BlobPart, message.BlobPart + 1, 2100 * message.BlobPart} { // the last has more digests than one part holds
		text := make([]byte, size)
		for i := 0; i < size; i += message.BlobPart {
			text[i], text[min(i+1, size-1)] = byte(i>>16), byte(i>>24)
		}
		b, err := message.NewBlob(bytes.NewReader(text), int64(size))
		if err != nil {
			t.Fatal(err)
		}
		index, list, err := b.Encode()
		if err != nil || len(list) > 1024 {
			t.Fatalf("the list has %d bytes, %v", len(list), err)
		}
		l, err := message.DecodeBlobList(list)
		if err != nil || l.Index.Count() != len(index) {
			t.Fatalf("%d: %+v, %v", size, l, err)
		}
		for i, piece := range index {
			if len(piece) > message.BlobPart || message.Digest(piece) != l.Index.At(i) {
				t.Errorf("%d: piece %d of the index is another", size, i)
			}
		}
		got, err := l.Blob(bytes.Join(index, nil))
		if err != nil || got.Size != int64(size) || got.Digest != message.Digest(text) || !bytes.Equal(got.Parts, b.Parts) {
			t.Fatalf("%d: %d bytes, %v", size, got.Size, err)
		}
		for i := range got.Parts.Count() {
			at := i * message.BlobPart
			if message.Digest(text[at:at+got.PartSize(i)]) != got.Parts.At(i) {
				t.Fatalf("%d: part %d is another", size, i)
			}
		}
	}
}

func TestWhatIsNoListOfAFileIsRefused(t *testing.T) {
	digest := strings.Repeat("0a", sha256.Size)
	for _, text := range []string{"", "{", "[]", `{"size":-1,"digest":"` + digest + `"}`, `{"size":1,"digest":"` + digest + `","index":""}`,
		`{"size":1,"digest":"x","index":"AAAA"}`, `{"size":99999999999999,"digest":"` + digest + `","index":"AAAA"}`} {
		if _, err := message.DecodeBlobList([]byte(text)); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := (message.BlobList{Size: 1, Digest: digest}).Blob(nil); fleet.KindOf(err) != fleet.Invalid {
		t.Error(err)
	}
}

func FuzzWhatIsReadAsAListIsOne(f *testing.F) {
	b, _ := message.NewBlob(strings.NewReader(strings.Repeat("x", message.BlobPart+1)), message.BlobPart+1)
	_, list, _ := b.Encode()
	f.Add(list)
	f.Add([]byte(`{"size":0,"digest":"` + message.Digest(nil) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := message.DecodeBlobList(text)
		if err != nil {
			if fleet.KindOf(err) != fleet.Invalid {
				t.Error(err)
			}
			return
		}
		b, err := l.Blob(make([]byte, (l.Size+message.BlobPart-1)/message.BlobPart*sha256.Size))
		if err != nil {
			t.Fatalf("%d bytes: %v", l.Size, err)
		}
		size := int64(0)
		for i := range b.Parts.Count() {
			size += int64(b.PartSize(i))
		}
		if index, _, err := b.Encode(); err != nil || len(index) != l.Index.Count() || size != l.Size {
			t.Errorf("%d bytes of %d, %d contents of %d: %v", size, l.Size, len(index), l.Index.Count(), err)
		}
	})
}
