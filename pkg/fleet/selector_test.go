package fleet_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

func TestSelectorsMeanWhatTheyMeanInKubernetes(t *testing.T) {
	edge := map[string]string{"role": "edge", "zone": "eu", "empty": "", "size": "5", "in": "x"}
	cases := map[string]bool{
		"": true, " \t": true,
		"role=edge": true, "role==edge": true, " role = edge ": true, "role=web": false, "absent=edge": false,
		"role!=edge": false, "role!=web": true, "absent!=edge": true,
		"role in (edge,web)": true, "role in (web)": false, "absent in (edge)": false, "role in(edge)": true,
		"role notin (edge)": false, "role notin (web)": true, "absent notin (edge)": true,
		"role": true, "absent": false, "!role": false, "!absent": true, "! absent": true,
		"role=edge,zone=eu": true, "role=edge,zone=us": false, "role,!absent,zone in (eu)": true,
		"empty=": true, "role=": false, "absent=": false, "empty in (,x)": true, "empty in (x,)": true, "role!=": true, "empty in ()": true, "role in ()": false,
		"size>4": true, "size>5": false, "size<6": true, "role>1": false, "absent<1": false,
		"in in (x)": true, "in": true, "notin": false, "role=in": false,
	}
	for text, want := range cases {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			t.Errorf("%q is refused: %v", text, err)
		} else if s.Matches(edge) != want {
			t.Errorf("%q matches: %v, want %v", text, !want, want)
		}
	}
}

func TestTheZeroSelectorMatchesEverything(t *testing.T) {
	var s fleet.Selector
	if !s.Empty() || !s.Matches(nil) || s.String() != "" {
		t.Errorf("the zero selector is %q and matches nil labels: %v", s, s.Matches(nil))
	}
}

func TestSelectorErrorsSayWhereAndWhatWasExpected(t *testing.T) {
	cases := map[string]string{
		"role=edge,":      `column 11: found the end, expected a label key or '!'`,
		",role":           `column 1: found ",", expected a label key or '!'`,
		"role edge":       `column 6: found "edge", expected one of =, ==, !=, in, notin, >, <, ',' or the end`,
		"role in edge":    `column 9: found "edge", expected '('`,
		"role in (a b)":   `column 12: found "b", expected ',' or ')'`,
		"role in (a":      `column 11: found the end, expected ',' or ')'`,
		"role in (=)":     `column 10: found "=", expected a label value, ',' or ')'`,
		"!":               `column 2: found the end, expected a label key after '!'`,
		"!role=a":         `column 6: found "=", expected ',' or the end`,
		"a=b c":           `column 5: found "c", expected ',' or the end`,
		"a=(b)":           `column 3: found "(", expected a label value`,
		"a>b":             `column 3: > compares whole numbers, "b" is none`,
		"-a=b":            `column 1: label key "-a" is not a label key`,
		"a=b.":            `column 3: label value "b." is not a label value`,
		"Example.org/a=b": `column 1: label key "Example.org/a" has a bad prefix`,
		"a=\x00":          `column 3: label value "\x00" is not a label value`,
	}
	for text, want := range cases {
		_, err := fleet.ParseSelector(text)
		if fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q gives %v, want an Invalid error", text, err)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestSelectorTextIsCanonical(t *testing.T) {
	for text, want := range map[string]string{
		" b = c , a ":        "a,b=c",
		"a in (z,y,z)":       "a in (y,z)",
		"a in (,)":           "a in ()",
		"x==1,!y,z notin(q)": "x==1,!y,z notin (q)",
		"a>1,a<9":            "a>1,a<9",
	} {
		s, err := fleet.ParseSelector(text)
		if err != nil || s.String() != want {
			t.Errorf("%q becomes %q (%v), want %q", text, s, err, want)
		}
	}
}

func FuzzSelectorTextReadsBack(f *testing.F) {
	for _, seed := range []string{"a=b", "a==b,c!=d", "a in (x,,y)", "a notin (,)", "!a", "a>1", "in in (in)", "a=,b", "a in (", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			return
		}
		again, err := fleet.ParseSelector(s.String())
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", text, s, err)
		}
		if again.String() != s.String() {
			t.Fatalf("%q became %q became %q", text, s, again)
		}
		for _, labels := range []map[string]string{nil, {"a": "b"}, {"a": ""}, {"a": "x", "c": "d"}} {
			if s.Matches(labels) != again.Matches(labels) {
				t.Fatalf("%q and %q differ on %v", text, s, labels)
			}
		}
	})
}
