package fleet_test

import (
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
)

var known = []fleet.Field{
	{Name: "name", Kind: fleet.TextField},
	{Name: "presence", Kind: fleet.TextField, Words: []string{"online", "offline", "never seen"}},
	{Name: "nginx.version", Kind: fleet.VersionField},
	{Name: "cpus", Kind: fleet.NumberField},
	{Name: "seen", Kind: fleet.SpanField},
	{Name: "modules", Kind: fleet.ListField},
	{Name: "os", Kind: fleet.TextField},
}

func has(name string) fleet.FieldValue {
	switch name {
	case "name":
		return fleet.Text("edge-eu-7")
	case "presence":
		return fleet.Text("never seen")
	case "nginx.version":
		return fleet.Text("1.22.1")
	case "cpus":
		return fleet.Text("8")
	case "seen":
		return fleet.FieldValue{Known: true, Span: 90 * time.Minute}
	case "modules":
		return fleet.FieldValue{Known: true, List: []string{"stream", "http_v2"}}
	}
	return fleet.FieldValue{}
}

func TestFieldsCompareAsTheirKindSays(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "  ": true,
		"name=edge-eu-7": true, "name==edge-eu-7": true, "name=edge": false, "name=edge-*": true, "name=*-7": true, "name=*eu*": true, "name=e*e": false, "name!=edge-*": false,
		"presence=never seen": true, `presence="never seen"`: true, "presence='never seen'": true, "presence!=online": true, "presence in (online,never seen)": true, "presence notin (online, offline)": true,
		"nginx.version>=1.22": true, "nginx.version>1.9": true, "nginx.version<1.22": false, "nginx.version<1.22.2": true, "nginx.version=1.22.1": true, "nginx.version=1.22.*": true, "nginx.version=1.22": false,
		"cpus>7": true, "cpus>=8": true, "cpus<10": true, "cpus=8": true, "cpus in (2,4)": false,
		"seen>1h": true, "seen>1d": false, "seen<2h": true, "seen<=90m": true, "seen>=90m": true, "seen>90m": false,
		"modules=stream": true, "modules=http_*": true, "modules!=stream": false, "modules!=mail": true,
		"os=debian-12": false, "os!=debian-12": true, "os notin (a)": true, "os in (a)": false,
		"name=edge-*, cpus>4 ,seen>1h": true, "name=edge-*,cpus>8": false,
	} {
		s, err := fleet.ParseFields(text, known)
		if err != nil {
			t.Errorf("%q is refused: %v", text, err)
			continue
		}
		if s.Matches(has) != want {
			t.Errorf("%q matches: %v, want %v", text, !want, want)
		}
		again, err := fleet.ParseFields(s.String(), known)
		if err != nil || again.String() != s.String() || again.Matches(has) != want {
			t.Errorf("%q is written as %q, which is read as %q (%v)", text, s, again, err)
		}
	}
}

func TestFieldErrorsSayWhereAndWhatThereIs(t *testing.T) {
	for text, want := range map[string]string{
		"presense=online":    `column 1: there is no field "presense": did you mean presence? there are name, presence, nginx.version, cpus, seen, modules, os`,
		"name=a,":            `column 8: found the end, expected a field such as name`,
		"name":               `column 5: found the end, expected one of =, !=, <, <=, >, >=, in, notin after name`,
		"name>a":             `column 6: name has no order: use =, !=, in or notin with it`,
		"presence=onlin":     `column 10: presence= has no value "onlin": use online, offline, never seen`,
		"cpus>many":          `column 6: cpus> "many" is not a whole number`,
		"seen>soon":          `column 6: seen> "soon" is not a duration: use 90s, 15m, 36h, 7d or 2w`,
		"nginx.version>x":    `column 15: nginx.version> "x" is not a version such as 1.22.1`,
		`name="a`:            `column 6: a quote is open`,
		`name="a"b`:          `column 9: found "b", expected ',' or the end`,
		"presence in online": `column 13: found online, expected '('`,
		"name in (a":         `column 11: found the end, expected ',' or ')'`,
		"name in (a,":        `column 12: found the end, expected ')'`,
	} {
		_, err := fleet.ParseFields(text, known)
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzFieldSelectorsAreWrittenAsTheyAreRead(f *testing.F) {
	for _, text := range []string{"name=a*,cpus>4", `os="a,b"`, "presence in (online,'never seen')", "name=''", "seen<=2w", "modules!=\"'\""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := fleet.ParseFields(text, known)
		if err != nil {
			return
		}
		again, err := fleet.ParseFields(s.String(), known)
		if err != nil || again.Matches(has) != s.Matches(has) {
			t.Errorf("%q is written as %q (%v)", text, s, err)
		}
	})
}
