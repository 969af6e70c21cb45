package client_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// content is so many bytes that no two parts share.
func content(size int) []byte {
	text := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(text)
	return text
}

func (s *site) store(text []byte, o client.StoreOptions) client.File {
	s.t.Helper()
	if o.For == 0 {
		o.For = time.Hour
	}
	f, err := s.client.Store(within(s.t), bytes.NewReader(text), int64(len(text)), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// kept is the file as a node reads it.
func (s *site) kept(f client.File) (text []byte) {
	s.t.Helper()
	read := func(digest string) []byte {
		content, err := s.conn("ship1").Blob(within(s.t), digest)
		if err != nil {
			s.t.Fatal(err)
		}
		return content
	}
	list, err := message.DecodeBlobList(read(f.List))
	if err != nil {
		s.t.Fatal(err)
	}
	var parts message.Digests
	for i := range list.Index.Count() {
		parts = append(parts, read(list.Index.At(i))...)
	}
	for i := range parts.Count() {
		text = append(text, read(parts.At(i))...)
	}
	return text
}

func TestAFileIsStoredOnce(t *testing.T) {
	s := open(t)
	const size = 20*message.BlobPart + 7
	text := content(size)
	var last int64
	first := s.store(text, client.StoreOptions{Progress: func(done, all int64) { last = done }})
	if first.Sent != size || last != size || !bytes.Equal(s.kept(first), text) {
		t.Errorf("%d of %d bytes were sent, %d told", first.Sent, size, last)
	}
	if again := s.store(text, client.StoreOptions{}); again.Sent != 0 || again.List != first.List {
		t.Errorf("again %d bytes were sent", again.Sent)
	}
	text[5*message.BlobPart]++
	if other := s.store(text, client.StoreOptions{}); other.Sent != message.BlobPart || !bytes.Equal(s.kept(other), text) {
		t.Errorf("of another part %d bytes were sent", other.Sent)
	}
	if longer := s.store(text, client.StoreOptions{For: 48 * time.Hour}); longer.Sent != size {
		t.Errorf("to be kept for longer %d bytes were sent", longer.Sent)
	}
	if twice := s.store(make([]byte, 10*message.BlobPart), client.StoreOptions{}); twice.Sent != message.BlobPart {
		t.Errorf("of ten parts that are the same %d bytes were sent", twice.Sent)
	}
	if none := s.store(nil, client.StoreOptions{}); none.Sent != 0 || len(s.kept(none)) != 0 {
		t.Errorf("an empty file: %+v", none)
	}
}

func TestAWholeStoreHealsWhatSomebodyForged(t *testing.T) {
	s := open(t)
	text := content(3 * message.BlobPart)
	f := s.store(text, client.StoreOptions{})
	p, err := s.client.Conn().PutBlob(f.Parts.At(1), []byte("forged"), time.Hour)
	if err == nil {
		err = p.Wait(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn("ship1").Blob(within(t), f.Parts.At(1)); fleet.KindOf(err) != fleet.Failed {
		t.Errorf("the forged part: %v", err)
	}
	if f = s.store(text, client.StoreOptions{Whole: true}); f.Sent != f.Size || !bytes.Equal(s.kept(f), text) {
		t.Errorf("%d bytes were sent", f.Sent)
	}
}

// An earlier command that waits for a node may name the same parts.
func TestAWholeStoreKeepsNothingForLessThanBefore(t *testing.T) {
	s := open(t)
	text := content(2 * message.BlobPart)
	s.store(text, client.StoreOptions{For: 20 * 24 * time.Hour})
	f := s.store(text, client.StoreOptions{Whole: true})
	digests := []string{f.List, f.Parts.At(0), f.Parts.At(1)}
	until, err := s.client.Conn().BlobsUntil(within(t), digests)
	if err != nil {
		t.Fatal(err)
	}
	state, err := s.client.Conn().State(within(t), subjects.BucketStream(subjects.Blobs))
	if err != nil {
		t.Fatal(err)
	}
	for _, digest := range digests {
		if left := until[digest].Sub(state.Now); left < 20*24*time.Hour {
			t.Errorf("%s is kept for %s", digest, left)
		}
	}
}

// interrupted calls a function once, when a part is read for the second time.
type interrupted struct {
	io.ReaderAt
	offset int64
	reads  int
	once   sync.Once
	do     func()
}

func (r *interrupted) ReadAt(p []byte, offset int64) (int, error) {
	if offset == r.offset {
		if r.reads++; r.reads == 2 {
			r.once.Do(r.do)
		}
	}
	return r.ReaderAt.ReadAt(p, offset)
}

func TestStoringGoesOnAfterARestartOfTheBroker(t *testing.T) {
	s := open(t)
	text := content(60 * message.BlobPart)
	file := &interrupted{ReaderAt: bytes.NewReader(text), offset: 40 * message.BlobPart, do: func() {
		s.stop()
		s.start()
	}}
	f, err := s.client.Store(within(t), file, int64(len(text)), client.StoreOptions{For: time.Hour})
	if err != nil || !bytes.Equal(s.kept(f), text) {
		t.Fatal(err)
	}
	state, err := s.client.Conn().State(within(t), subjects.BucketStream(subjects.Blobs))
	if most := uint64(60 + 2 + 16); err != nil || state.Last > most {
		t.Errorf("%d messages were stored, %v, want %d at most: those under way twice, the others once", state.Last, err, most)
	}
}

func TestAFileThatChangesMeanwhileIsNotStored(t *testing.T) {
	s := open(t)
	text := content(3 * message.BlobPart)
	file := &interrupted{ReaderAt: bytes.NewReader(text), offset: message.BlobPart, do: func() { text[message.BlobPart]++ }}
	_, err := s.client.Store(within(t), file, int64(len(text)), client.StoreOptions{For: time.Hour})
	if fleet.KindOf(err) != fleet.Conflict || !strings.Contains(err.Error(), "changed while it was read") {
		t.Error(err)
	}
}

func TestAFullStoreSaysWhatToDo(t *testing.T) {
	s := open(t)
	s.stopStation()
	s.runStation(func(c *station.Config) { c.Storage.BlobsBytes = 1 << 20 })
	_, err := s.client.Store(within(t), bytes.NewReader(content(20*message.BlobPart)), 20*message.BlobPart, client.StoreOptions{For: time.Hour})
	if fleet.KindOf(err) != fleet.Busy || !strings.Contains(err.Error(), "`fairlead station --files-bytes` gives it more room") {
		t.Error(err)
	}
}

func TestAFileThatIsTooLargeIsRefused(t *testing.T) {
	_, err := message.NewBlob(nil, message.MaxBlob+1)
	if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "a file may have 1024") {
		t.Error(err)
	}
}
