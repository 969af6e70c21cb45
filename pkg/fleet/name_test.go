package fleet_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

func TestNamesFollowTheGrammar(t *testing.T) {
	for _, name := range []string{"a", "ship1", "Ship_1", "-", "9", strings.Repeat("x", 63)} {
		if err := fleet.CheckName("node", name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for _, name := range []string{"", " ", "a b", "a.b", "a*", ">", "a\tb", "é", "a\x00", "a/b", strings.Repeat("x", 64)} {
		err := fleet.CheckName("node", name)
		if fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q gives %v, want an Invalid error", name, err)
		} else if !strings.Contains(err.Error(), "letters, digits") {
			t.Errorf("%q: %v does not say what is allowed", name, err)
		}
	}
}

func TestReservedNamesAreNoNodes(t *testing.T) {
	for _, name := range []string{"fleet", "live", "all", "local"} {
		if err := fleet.CheckNode(name); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q gives %v, want an Invalid error", name, err)
		}
		if err := fleet.CheckName("Upstream", name); err != nil {
			t.Errorf("a resource may be called %q: %v", name, err)
		}
	}
	if err := fleet.CheckNode("Fleet"); err != nil {
		t.Errorf("case counts: %v", err)
	}
}

func TestLabelsFollowKubernetesGrammar(t *testing.T) {
	good := map[string]string{
		"role": "edge", "a.b-c_d": "x.y", "example.org/zone": "eu-1", "empty": "", "A": strings.Repeat("v", 63),
	}
	if faults := fleet.CheckLabels(good); len(faults) > 0 {
		t.Errorf("good labels are refused: %v", faults)
	}
	for key, value := range map[string]string{
		"": "x", "-a": "x", "a-": "x", "a b": "x", "Up.Case/a": "x", "/a": "x", "a/": "x", "a/b/c": "x", "a..b/c": "x",
		strings.Repeat("k", 64): "x", "v1": "-x", "v2": "x.", "v3": "a b", "v4": strings.Repeat("v", 64), "v5": "é",
	} {
		if faults := fleet.CheckLabels(map[string]string{key: value}); len(faults) != 1 {
			t.Errorf("%q=%q gives %v, want one fault", key, value, faults)
		}
	}
}
