package message_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// sites are so many resources that differ.
func sites(n int) (pieces []message.Piece) {
	for i := range n {
		pieces = append(pieces, site(i, "/"))
	}
	return pieces
}

func site(i int, path string) message.Piece {
	id := fmt.Sprintf("VirtualHost/shop-%05d", i)
	return message.Piece{ID: id, Text: fmt.Appendf(nil, `{"kind":"VirtualHost","name":%q,"serverNames":["www%d.example.com"],"locations":[{"path":%q,"return":{"status":200,"body":%q}}]}`,
		id, i, path, strings.Repeat("word ", 30))}
}

// parted is a document in parts, and those by their digests.
func parted(t testing.TB, pieces []message.Piece) (document []byte, by map[string][]byte) {
	t.Helper()
	list, parts, err := message.Cut(pieces)
	if err != nil {
		t.Fatal(err)
	}
	by = make(map[string][]byte)
	for i, p := range parts {
		if list.Digests.At(i) != message.Digest(p) || len(p) > message.PartMost+1024 {
			t.Fatalf("part %d has %d bytes and is named %s", i, len(p), list.Digests.At(i))
		}
		by[message.Digest(p)] = p
	}
	document, err = json.Marshal(map[string]any{"revision": 7, "resources": nil, "parts": list})
	if err != nil {
		t.Fatal(err)
	}
	return document, by
}

// sumOf is a content's digest as a list has it.
func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func from(by map[string][]byte) func(string) ([]byte, error) {
	return func(digest string) ([]byte, error) {
		if p, ok := by[digest]; ok {
			return p, nil
		}
		return nil, fleet.Errorf(fleet.Unknown, "no part %s", digest)
	}
}

// texts are the resources of a document, as they stand there.
func texts(t *testing.T, whole []byte) (all []string) {
	t.Helper()
	var d struct {
		Revision  int
		Resources []json.RawMessage
		Parts     any
	}
	if err := json.Unmarshal(whole, &d); err != nil || d.Revision != 7 || d.Parts != nil {
		t.Fatalf("%v: %.200s", err, whole)
	}
	for _, r := range d.Resources {
		all = append(all, string(r))
	}
	return all
}

func TestWhatWasCutIsWholeAgain(t *testing.T) {
	incompressible := make([]byte, 300<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(incompressible)
	large, _ := json.Marshal(map[string][]byte{"file": incompressible})
	for name, pieces := range map[string][]message.Piece{
		"one": sites(1), "a few": sites(3), "thousands": sites(3000),
		"one that is longer than many parts": append(sites(500), message.Piece{ID: "ConfigFile/large", Text: large}),
		"one as long as a part":              {{ID: "a", Text: []byte(`"` + strings.Repeat("x", message.PartMost-3) + `"`)}, {ID: "b", Text: []byte("{}")}},
	} {
		t.Run(name, func(t *testing.T) {
			document, by := parted(t, pieces)
			whole, err := message.Whole(document, from(by))
			if err != nil {
				t.Fatal(err)
			}
			got := texts(t, whole)
			if !slices.EqualFunc(got, pieces, func(text string, p message.Piece) bool { return text == string(p.Text) }) {
				t.Errorf("%d of %d resources came back, or other ones", len(got), len(pieces))
			}
		})
	}
}

func TestAWholeDocumentStaysAsItIs(t *testing.T) {
	document := []byte(`{"revision":7,"resources":[]}`)
	whole, err := message.Whole(document, from(nil))
	if err != nil || !bytes.Equal(whole, document) {
		t.Errorf("%s, %v", whole, err)
	}
	for _, text := range []string{"", "[]", "{", `{"parts":7}`} {
		if _, err := message.Whole([]byte(text), from(nil)); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAChangeOfOneResourceMakesOneNewPartOrAFew(t *testing.T) {
	const n = 2000
	before := sites(n)
	_, had := parted(t, before)
	if len(had) < 8 || len(had) > 40 {
		t.Errorf("%d resources are %d parts", n, len(had))
	}
	most, all := 0, 0
	for i := 0; i < n; i += 101 {
		for what, after := range map[string][]message.Piece{
			"changed":    slices.Replace(slices.Clone(before), i, i+1, site(i, "/other")),
			"far longer": slices.Replace(slices.Clone(before), i, i+1, site(i, strings.Repeat("/long", 1000))),
			"removed":    slices.Delete(slices.Clone(before), i, i+1),
			"added":      slices.Insert(slices.Clone(before), i, message.Piece{ID: before[i].ID + "-b", Text: before[i].Text}),
		} {
			_, has := parted(t, after)
			fresh := 0
			for digest := range has {
				if _, same := had[digest]; !same {
					fresh++
				}
			}
			// What grows may have its part cut in more than two. Who removes or adds the one by which the text is cut joins parts, or splits some.
			limit := map[string]int{"changed": 1, "far longer": 3, "removed": 4, "added": 4}[what]
			if fresh > limit {
				t.Errorf("resource %d %s: %d new parts", i, what, fresh)
			}
			most, all = max(most, fresh), all+fresh
		}
	}
	if mean := float64(all) / (4 * float64((n+100)/101)); mean > 1.3 {
		t.Errorf("a change makes %.2f new parts, %d at most", mean, most)
	}
}

func TestWhatIsTooLargeForANodeIsRefusedWithItsSize(t *testing.T) {
	text := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	pieces := make([]message.Piece, message.MaxWhole>>20)
	for i := range pieces {
		pieces[i] = message.Piece{ID: fmt.Sprint(i), Text: text}
	}
	_, _, err := message.Cut(pieces)
	if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "32 MiB") {
		t.Error(err)
	}
}

func TestPartsThatAreNotWhatTheListSaysAreRefused(t *testing.T) {
	pieces := sites(700)
	document, by := parted(t, pieces)
	list, parts, _ := message.Cut(pieces)
	zeros := message.Piece{ID: "z", Text: bytes.Repeat([]byte{' '}, 60<<10)}
	_, bomb, _ := message.Cut([]message.Piece{zeros})
	with := func(change func(*message.PartList)) []byte {
		l := list
		l.Digests = slices.Clone(list.Digests)
		change(&l)
		text, _ := json.Marshal(map[string]any{"revision": 7, "parts": l})
		return text
	}
	only := func(packed ...[]byte) map[string][]byte {
		m := make(map[string][]byte)
		for _, p := range packed {
			m[message.Digest(p)] = p
		}
		return m
	}
	named := func(size int64, packed ...[]byte) []byte {
		return with(func(l *message.PartList) {
			l.Size, l.Digests = size, nil
			for _, p := range packed {
				var d message.Digests
				_ = json.Unmarshal(fmt.Appendf(nil, "%q", sumOf(p)), &d)
				l.Digests = append(l.Digests, d...)
			}
		})
	}
	swapped := make(map[string][]byte)
	for digest := range by {
		swapped[digest] = parts[0]
	}
	for name, bad := range map[string]struct {
		document []byte
		by       map[string][]byte
		kind     fleet.Kind
	}{
		"a part lacks":         {document, nil, fleet.Unknown},
		"another in its place": {document, swapped, fleet.Invalid},
		"less than it says":    {with(func(l *message.PartList) { l.Size++ }), by, fleet.Invalid},
		"more than it says":    {with(func(l *message.PartList) { l.Size-- }), by, fleet.Invalid},
		"one too many":         {with(func(l *message.PartList) { l.Digests = append(l.Digests, l.Digests[:32]...) }), by, fleet.Invalid},
		"half a digest":        {with(func(l *message.PartList) { l.Digests = l.Digests[:len(l.Digests)-16] }), by, fleet.Invalid},
		"no digests":           {with(func(l *message.PartList) { l.Digests = nil }), by, fleet.Invalid},
		"no resources":         {with(func(l *message.PartList) { l.Resources = 0 }), by, fleet.Invalid},
		"an absurd size":       {with(func(l *message.PartList) { l.Size = 1 << 60 }), by, fleet.Invalid},
		"a negative size":      {with(func(l *message.PartList) { l.Size = -1 }), by, fleet.Invalid},
		"an absurd count":      {with(func(l *message.PartList) { l.Digests = make([]byte, 32*8193) }), by, fleet.Invalid},
		"what is not packed":   {named(9, []byte("plain text")), only([]byte("plain text")), fleet.Invalid},
		"no text":              {named(int64(len(zeros.Text)), bomb...), only(bomb...), fleet.Invalid},
		"a bomb":               {named(message.PartMost, frame(t, make([]byte, 16<<20))), only(frame(t, make([]byte, 16<<20))), fleet.Invalid},
	} {
		if _, err := message.Whole(bad.document, from(bad.by)); fleet.KindOf(err) != bad.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzWhatIsReadAsPartsIsWholeOrRefused(f *testing.F) {
	document, by := parted(f, sites(300))
	var one []byte
	for _, p := range by {
		one = p
	}
	f.Add(document, one)
	f.Add([]byte(`{"parts":{"resources":1,"size":4,"digests":"AAAA"}}`), []byte("x"))
	f.Add([]byte(`{"parts":null,"resources":[1]}`), []byte{})
	f.Fuzz(func(t *testing.T, document, packed []byte) {
		for _, named := range []bool{false, true} {
			if named { // so that what is behind the digests is read too
				list, _ := message.PartsOf(document)
				if list == nil {
					return
				}
				text, _ := json.Marshal(map[string]any{"parts": map[string]any{"resources": 1, "size": list.Size, "digests": sumOf(packed)}})
				document = text
			}
			whole, err := message.Whole(document, func(string) ([]byte, error) { return packed, nil })
			if err != nil {
				continue
			}
			if list, err := message.PartsOf(whole); err != nil || list != nil || len(whole) > len(document)+message.MaxWhole {
				t.Errorf("%d bytes: %v, %v", len(whole), list, err)
			}
		}
	})
}

func TestADigestIsFoundAsItIsWritten(t *testing.T) {
	var all message.Digests
	for _, text := range []string{"a", "b", "c"} {
		sum := sha256.Sum256([]byte(text))
		all = append(all, sum[:]...)
	}
	b := message.Digest([]byte("b"))
	for digest, want := range map[string]bool{b: true, message.Digest([]byte("d")): false, strings.ToUpper(b): false, b[:62]: false, "*": false, "": false,
		b[2:] + message.Digest([]byte("c"))[:2]: false} {
		if all.Has(digest) != want {
			t.Errorf("%q is found: %t", digest, !want)
		}
	}
}
