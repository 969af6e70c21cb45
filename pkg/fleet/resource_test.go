package fleet_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

func TestResourceHeadIsChecked(t *testing.T) {
	good, _ := site()
	for path, r := range map[string]fleet.Resource{
		"apiVersion":    {APIVersion: "v1", Kind: good.Kind, Metadata: good.Metadata, Spec: good.Spec},
		"kind":          {APIVersion: good.APIVersion, Kind: "Virtualhost", Metadata: good.Metadata, Spec: good.Spec},
		"metadata.name": {APIVersion: good.APIVersion, Kind: good.Kind, Metadata: fleet.Metadata{Name: "a.b"}, Spec: good.Spec},
		"spec":          {APIVersion: good.APIVersion, Kind: "Upstream", Metadata: good.Metadata, Spec: good.Spec},
	} {
		if faults := r.Validate(); len(faults) != 1 || faults[0].Path != path || faults[0].Subject != r.ID() {
			t.Errorf("%s gives %v, want one fault there", path, faults)
		}
	}
	if faults := (fleet.Resource{}).Validate(); len(faults) != 4 {
		t.Errorf("the zero resource has %v, want four faults", faults)
	}
}

func TestJSONIsReadStrictly(t *testing.T) {
	const doc = `{"apiVersion": "fairlead/v1", "kind": "Upstream", "metadata": {"name": "app"}, "spec": %s}`
	for spec, want := range map[string]string{
		`{"servers": [{"address": "a:1", "wieght": 2}]}`: `Upstream/app: spec.servers[0].wieght: unknown field "wieght"`,
		`{"Servers": []}`:                 `spec.Servers: unknown field "Servers"`,
		`{"servers": [], "servers": []}`:  `spec.servers: is there twice`,
		`{"servers": {}}`:                 "cannot unmarshal object",
		`null`:                            "spec is missing",
		`{"keepalive": 1.5}`:              "cannot unmarshal number",
		`{"servers": []}, "status": {}`:   `resource: status: unknown field "status"`,
		`{"servers": []}, "metadata": {}`: `resource: metadata: is there twice`,
	} {
		var r fleet.Resource
		err := json.Unmarshal(fmt.Appendf(nil, doc, spec), &r)
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want an Invalid error with %q", spec, err, want)
		}
	}
	var r fleet.Resource
	if err := json.Unmarshal([]byte(`{"kind": "Pod"}`), &r); err == nil || !strings.Contains(err.Error(), strings.Join(fleet.Kinds(), ", ")) {
		t.Errorf("an unknown kind gives %v, want the kinds there are", err)
	}
}

func FuzzJSONNeverPanics(f *testing.F) {
	good, _ := site()
	data, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"kind": "ConfigFile", "spec": {"content": "\u0000"}}`))
	f.Add([]byte(`{"kind": "Upstream", "spec": [], "metadata": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r fleet.Resource
		if json.Unmarshal(data, &r) != nil || len(r.Validate()) > 0 {
			return
		}
		first, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again fleet.Resource
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%s is refused: %v", first, err)
		}
		if second, _ := json.Marshal(again); string(second) != string(first) {
			t.Fatalf("%s became %s", first, second)
		}
	})
}
