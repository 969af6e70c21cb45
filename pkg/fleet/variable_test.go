package fleet_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

func shipValues() fleet.Values {
	return fleet.Values{
		Name: "ship1", Address: "192.0.2.7", Labels: map[string]string{"region": "eu", "example.org/zone": "a", "port": "8080", "empty": ""},
		Facts: &fleet.Facts{Hostname: "ship1.example.org", OS: "debian-12", CPUs: 4, Nginx: "1.22.1"},
	}
}

// spread is a resource with variables in texts of every sort.
func spread() fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: "VirtualHost", Metadata: fleet.Metadata{Name: "site"}, Spec: &fleet.VirtualHost{
		Selector:    "role=edge",
		Listen:      []fleet.Listen{{Address: "${node.address}", Port: 80}},
		ServerNames: []string{"${node.name}.example.org", "*.${node.labels.region}.example.org", "${node.labels.zone|none}.example.org"},
		Headers:     map[string]string{"X-Node": "${node.facts.hostname} (${node.facts.os}, ${node.facts.cpus})"},
		Locations: []fleet.Location{
			{Path: "/", Root: "/srv/${node.labels.example.org/zone}"},
			{Path: "/api/", Proxy: &fleet.Proxy{Upstream: "app-${node.labels.region}"}},
			{Path: "/text", Return: &fleet.Return{Code: 200, Text: "${node.name} $${node.name} $${host} ${host} $host ${a + b.c}"}},
			{Path: "/empty", Redirect: &fleet.Redirect{To: "/x${node.labels.empty}"}},
		},
	}}
}

func TestVariablesBecomeTheNodesValues(t *testing.T) {
	before := spread()
	if faults := before.Validate(); faults != nil {
		t.Fatal(faults)
	}
	r, err := before.Resolve(shipValues())
	if err != nil {
		t.Fatal(err)
	}
	want := &fleet.VirtualHost{
		Selector:    "role=edge",
		Listen:      []fleet.Listen{{Address: "192.0.2.7", Port: 80}},
		ServerNames: []string{"ship1.example.org", "*.eu.example.org", "none.example.org"},
		Headers:     map[string]string{"X-Node": "ship1.example.org (debian-12, 4)"},
		Locations: []fleet.Location{
			{Path: "/", Root: "/srv/a"},
			{Path: "/api/", Proxy: &fleet.Proxy{Upstream: "app-eu"}},
			{Path: "/text", Return: &fleet.Return{Code: 200, Text: "ship1 ${node.name} $${host} ${host} $host ${a + b.c}"}},
			{Path: "/empty", Redirect: &fleet.Redirect{To: "/x"}},
		},
	}
	if !reflect.DeepEqual(r.Spec, want) {
		t.Errorf("got\n%+v\nwant\n%+v", r.Spec, want)
	}
	if !reflect.DeepEqual(before, spread()) {
		t.Error("the resource itself was changed")
	}
	if got := fmt.Sprint(before.Variables()); got != "[${node.address} ${node.name} ${node.labels.region} ${node.labels.zone|none} ${node.facts.hostname} ${node.facts.os} ${node.facts.cpus} ${node.labels.example.org/zone} ${node.labels.empty}]" {
		t.Error(got)
	}
}

func TestAWrongVariableIsAFaultAtItsPath(t *testing.T) {
	for text, want := range map[string]string{
		"${node.label.region}":       "use node.name",
		"${node.labels}":             "use node.name",
		"${node.name.x}":             "use node.name",
		"${nod.labels.region}":       "write $${nod.labels.region} for this text itself",
		"${node.labels.a b}":         "is not a label key",
		"${node.facts.uptime}":       "use one of arch, cpus, hostname, nginx, os",
		"${node.labels.region|a;b}":  "the default holds more than",
		"${node.labels.region|a\tb}": "the default holds more than",
		"${node.labels.region":       "", // nginx's own syntax, which refuses it
	} {
		r := spread()
		host := r.Spec.(*fleet.VirtualHost)
		host.Locations[2].Return.Text = text
		faults := r.Validate()
		if want == "" && faults == nil {
			continue
		}
		if len(faults) != 1 || faults[0].Path != "spec.locations[2].return.text" || !strings.Contains(faults[0].Message, want) {
			t.Errorf("%s: %v", text, faults)
		}
	}
}

func TestAVariableThatNoValueMakesRightIsAFault(t *testing.T) {
	r := spread()
	r.Spec.(*fleet.VirtualHost).ServerNames[1] = "www.${node.labels.region}.*"
	faults := r.Validate()
	if len(faults) != 1 || faults[0].Path != "spec.serverNames[1]" || !strings.Contains(faults[0].Message, `(tried for "www.${node.labels.region}.*")`) {
		t.Errorf("%v", faults)
	}
}

func TestSelectorsAndNamesHaveNoVariables(t *testing.T) {
	r := spread()
	r.Spec.(*fleet.VirtualHost).Selector = "role=${node.name}"
	if faults := r.Validate(); len(faults) != 1 || faults[0].Path != "spec.selector" {
		t.Errorf("%v", faults)
	}
	r = spread()
	r.Metadata.Name = "${node.name}"
	if faults := r.Validate(); len(faults) != 1 || faults[0].Path != "metadata.name" {
		t.Errorf("%v", faults)
	}
}

func TestWhatANodeLacksIsNamed(t *testing.T) {
	for want, spoil := range map[string]func(*fleet.Values){
		`the node has no label "region": give it one, or write ${node.labels.region|…} with a default`: func(v *fleet.Values) { delete(v.Labels, "region") },
		"the node has no address of its own":     func(v *fleet.Values) { v.Address = "" },
		"the node has not told its facts yet":    func(v *fleet.Values) { v.Facts = nil },
		"the node has not told its hostname":     func(v *fleet.Values) { v.Facts.Hostname = "" },
		`the node's fact hostname is "a; } s {"`: func(v *fleet.Values) { v.Facts.Hostname = "a; } s {" },
		`the node's label region is "a\nb"`:      func(v *fleet.Values) { v.Labels["region"] = "a\nb" },
		`"*.e/u.example.org"`:                    func(v *fleet.Values) { v.Labels["region"] = "e/u" },
	} {
		v := shipValues()
		spoil(&v)
		if _, err := spread().Resolve(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Whatever a node tells of itself, raw configuration gets a text without
// anything that nginx would take for syntax.
func FuzzNoValueBringsSyntax(f *testing.F) {
	for _, s := range []string{"plain", "a; } server {", "${node.name}", "$host", "\n", "\"", "é", "\\", "#", strings.Repeat("a", 254)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, fact string) {
		v := shipValues()
		v.Facts.Hostname, v.Labels["region"] = fact, fact
		file := fleet.Resource{APIVersion: fleet.APIVersion, Kind: "ConfigFile", Metadata: fleet.Metadata{Name: "x"},
			Spec: &fleet.ConfigFile{Context: "http", Content: "<${node.facts.hostname}><${node.labels.region}>"}}
		r, err := file.Resolve(v)
		if err != nil {
			return
		}
		if text := r.Spec.(*fleet.ConfigFile).Content; strings.ContainsAny(text, " ;{}$\"'`\\#\n\r\t\x00") || text != "<"+fact+"><"+fact+">" {
			t.Errorf("%q becomes %q", fact, text)
		}
	})
}
