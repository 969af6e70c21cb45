package station

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"fairlead/pkg/fleet"
)

func site(name, text string) fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: "VirtualHost", Metadata: fleet.Metadata{Name: name},
		Spec: &fleet.VirtualHost{ServerNames: []string{name + ".example"}, Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: text}}}}}
}

func TestNodesWithTheSameResourcesHaveWhatIsRememberedOfThemInCommon(t *testing.T) {
	var m making
	resources := []fleet.Resource{site("a", "x"), site("b", "y")}
	written, _, raw, err := m.of(resources)
	if err != nil {
		t.Fatal(err)
	}
	read, err := m.from(raw)
	if err != nil || read != written {
		t.Errorf("what was written is %p, read back %p: %v", written, read, err)
	}
	other, _, _, err := m.of([]fleet.Resource{site("a", "x"), site("b", "z")})
	if err != nil || other == written || other.prints[0] != written.prints[0] || other.prints[1] == written.prints[1] {
		t.Errorf("another content of b: %v, %v", other, err)
	}
	if _, err := m.from([]byte(`[{"kind": 1}]`)); err == nil {
		t.Error("nonsense is taken for resources")
	}
	if none, err := m.from(nil); err != nil || len(none.ids()) != 0 {
		t.Errorf("a document without resources: %v, %v", none, err)
	}
	runtime.KeepAlive(written)
}

func TestWhatNoNodeHasAnyMoreIsForgotten(t *testing.T) {
	var m making
	for i := range 5 * makingLeast {
		raw, err := json.Marshal([]fleet.Resource{site(fmt.Sprint("h", i), "x")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.from(raw); err != nil {
			t.Fatal(err)
		}
		if i%makingLeast == 0 {
			runtime.GC()
		}
	}
	if len(m.known) > 3*makingLeast {
		t.Errorf("%d lists are remembered that nobody holds", len(m.known))
	}
}
