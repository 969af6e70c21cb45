package station

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"unsafe"
)

func TestWhatManyNodesHaveAlikeIsKeptOnce(t *testing.T) {
	var s shared
	header := "Nats-From: station-of-the-harbour"
	a, b := s.text(header[11:]), s.text("station-of-the-harbour")
	if a != b || unsafe.StringData(a) != unsafe.StringData(b) || unsafe.StringData(a) == unsafe.StringData(header[11:]) {
		t.Errorf("%q and %q are not one text of their own", a, b)
	}
	first, second := s.list([]string{"http_ssl", "stream"}), s.list([]string{"http_ssl", "stream"})
	if &first[0] != &second[0] {
		t.Error("two equal lists are kept twice")
	}
	if other := s.list([]string{"http_ssl stream"}); len(other) != 1 { // the words of the first, joined
		t.Errorf("a list of one is %q", other)
	}
	ship := map[string]string{"kind": "ship", "region": "north"}
	if got := s.labelsOf(maps.Clone(ship)); !maps.Equal(got, ship) || len(s.labels) != 1 {
		t.Errorf("%v, of %d", got, len(s.labels))
	}
	s.labelsOf(ship)
	s.labelsOf(map[string]string{"kind": "ship6 region5 north"})
	if len(s.labels) != 2 {
		t.Errorf("%d sets of labels are remembered of 2", len(s.labels))
	}
}

func TestNoNodeFillsTheMemoryOfAStationWithTextsOfItsOwn(t *testing.T) {
	var s shared
	for i := range 3 * sharedMost {
		s.text(fmt.Sprint(i))
	}
	if len(s.texts) > sharedMost {
		t.Errorf("%d texts are remembered, more than %d", len(s.texts), sharedMost)
	}
	s = shared{}
	long := strings.Repeat("x", 500<<10)
	if s.text(long) != long || s.list([]string{"stream", long})[1] != long || s.labelsOf(map[string]string{"kind": long})["kind"] != long {
		t.Error("what is long is another")
	}
	if len(s.texts)+len(s.lists)+len(s.labels) > 0 {
		t.Error("what is long is remembered when no node has it any more")
	}
}
