package manifest_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
)

// roundTrip demands that valid resources survive YAML and JSON.
func roundTrip(t *testing.T, resources []fleet.Resource) {
	t.Helper()
	data, err := manifest.Marshal(resources)
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.Read("marshalled", bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, data)
	}
	again, err := manifest.Marshal(set.Resources())
	if err != nil || !bytes.Equal(again, data) {
		t.Fatalf("YAML is not canonical (%v):\n%s\nbecame\n%s", err, data, again)
	}
	want, err := json.Marshal(resources)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(set.Resources())
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("YAML changed a resource (%v):\n%s\nbecame\n%s\nthrough\n%s", err, want, got, data)
	}
	var back []fleet.Resource
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if data, _ := json.Marshal(back); !bytes.Equal(data, want) {
		t.Fatalf("JSON changed a resource:\n%s\nbecame\n%s", want, data)
	}
}

func TestYAMLIsWrittenInFieldOrder(t *testing.T) {
	two := 2
	resources := []fleet.Resource{
		{APIVersion: fleet.APIVersion, Kind: "VirtualHost", Metadata: fleet.Metadata{Name: "yes"}, Spec: &fleet.VirtualHost{
			Selector:    "role=edge",
			Listen:      []fleet.Listen{{Port: 80}, {Address: "::1", Port: 8080}},
			ServerNames: []string{"*.example.org", "_"},
			Headers:     map[string]string{"X-B": "123", "X-A": "it's \"quoted\": #1"},
			Locations: []fleet.Location{
				{Path: "/", Return: &fleet.Return{Code: 200, Text: "two\nlines\n"}},
				{Path: "/old", Redirect: &fleet.Redirect{To: "/new", KeepPath: true}},
			},
		}},
		{APIVersion: fleet.APIVersion, Kind: "Upstream", Metadata: fleet.Metadata{Name: "app"}, Spec: &fleet.Upstream{
			Servers: []fleet.Server{{Address: "127.0.0.1:1", MaxFails: &two}, {Address: "unix:/run/app.sock", MaxFails: new(int), Backup: true}},
		}},
	}
	const want = `apiVersion: fairlead/v1
kind: VirtualHost
metadata:
  name: "yes"
spec:
  selector: role=edge
  listen:
    - port: 80
    - address: ::1
      port: 8080
  serverNames:
    - '*.example.org'
    - _
  headers:
    X-A: 'it''s "quoted": #1'
    X-B: "123"
  locations:
    - path: /
      return:
        code: 200
        text: |
          two
          lines
    - path: /old
      redirect:
        to: /new
        keepPath: true
---
apiVersion: fairlead/v1
kind: Upstream
metadata:
  name: app
spec:
  servers:
    - address: 127.0.0.1:1
      maxFails: 2
    - address: unix:/run/app.sock
      backup: true
      maxFails: 0
`
	got, err := manifest.Marshal(resources)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	set, err := manifest.Read("test", bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(set.Resources(), resources) {
		t.Errorf("reading back gives %+v", set.Resources())
	}
}

func FuzzAnyTextSurvivesYAML(f *testing.F) {
	for _, seed := range []string{"a", "a\nb", " a\n b", "\ta\n", "a\r\nb\r\n", "é\n", "a \nb", "null", "~", "1", "0x1", "- a\n", "#\n", "a: b\n\n\n", "\u0085\u2028x\ufeff", "%\n---\n...\n", "a\n ", "\n\na"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		config := &fleet.ConfigFile{Context: "http", Content: text}
		if config.Validate() != nil {
			return
		}
		roundTrip(t, []fleet.Resource{{APIVersion: fleet.APIVersion, Kind: "ConfigFile", Metadata: fleet.Metadata{Name: "x"}, Spec: config}})
	})
}
