package handlers_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

func resourceOf(name string, spec fleet.Spec) fleet.Resource {
	return fleet.Resource{APIVersion: "fairlead/v1", Kind: spec.Kind(), Metadata: fleet.Metadata{Name: name}, Spec: spec}
}

func text(t *testing.T, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestACheckIsGivenTheKeysThatTheNodeHasAndNoOthers(t *testing.T) {
	has, new := certtest.New(t).Issue("a.example.org"), certtest.New(t).Issue("a.example.org")
	certificate := func(name string, p certtest.Pair, sealed string) fleet.Resource {
		return resourceOf(name, &fleet.Certificate{Certificate: string(p.Chain), Fingerprint: fleet.Fingerprint(p.Leaf), SealedKey: sealed, SealedTo: sealed})
	}
	state := &fakeState{desired: text(t, nginx.Desired{Revision: 1, Resources: []fleet.Resource{certificate("a", has, "own")}})}
	engine := &fakeNginx{checked: nginx.Checked{Digest: "0123456789abcdef", StandIns: []string{"Certificate/b"}}}
	body := handlers.NginxCheckBody{Digest: "d", Address: "127.0.0.9", Resources: []fleet.Resource{
		certificate("renamed", has, ""), certificate("b", new, ""), certificate("c", new, "smuggled")}}
	r, err := command(t, t.Context(), &handlers.Node{Nginx: engine, State: state}, "nginxcheck", handlers.Command[json.RawMessage]{Body: text(t, body), Role: subjects.Operator})
	if err != nil || r.Changed || r.Message != "nginx takes 0123456789ab; the key of Certificate/b is not here yet and was not looked at" {
		t.Errorf("%+v, %v", r, err)
	}
	if d := engine.desired; d.Digest != "d" || d.Address != "127.0.0.9" || len(d.Resources) != 3 {
		t.Fatalf("checked was %+v", d)
	}
	for i, want := range []string{"own", "", ""} {
		if c := engine.desired.Resources[i].Spec.(*fleet.Certificate); c.SealedKey != want || c.SealedTo != want {
			t.Errorf("key %d is %q", i, c.SealedKey)
		}
	}
	if engine.applied > 0 || len(state.reports) > 0 {
		t.Error("something was applied or reported")
	}
}

func TestRawConfigurationThatANodeDoesNotHaveIsAnAdministrators(t *testing.T) {
	raw := func(content string) fleet.Resource {
		return resourceOf("r", &fleet.ConfigFile{Context: "http", Content: content})
	}
	state := &fakeState{desired: text(t, nginx.Desired{Revision: 1, Resources: []fleet.Resource{raw("# one\n")}})}
	for _, row := range []struct {
		role     subjects.Role
		resource fleet.Resource
		want     fleet.Kind
	}{
		{subjects.Operator, raw("# one\n"), ""},
		{subjects.Operator, raw("# two\n"), fleet.Refused},
		{subjects.Operator, resourceOf("p", &fleet.NodePolicy{}), fleet.Refused},
		{subjects.Admin, raw("# two\n"), ""},
		{"", raw("# two\n"), fleet.Refused},
	} {
		body := text(t, handlers.NginxCheckBody{Digest: "d", Resources: []fleet.Resource{row.resource}})
		_, err := command(t, t.Context(), &handlers.Node{Nginx: &fakeNginx{}, State: state}, "nginxcheck", handlers.Command[json.RawMessage]{Body: body, Role: row.role})
		if fleet.KindOf(err) != row.want {
			t.Errorf("%s of %s: %v", row.resource.ID(), row.role, err)
		}
	}
}

func TestACheckWithoutABodyIsOfWhatTheNodeIsToBe(t *testing.T) {
	engine := &fakeNginx{checked: nginx.Checked{Notes: []string{"a server is left out"}}}
	state := &fakeState{desired: text(t, nginx.Desired{Revision: 4, Digest: "d"})}
	if r, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxcheck", ""); err != nil || engine.desired.Revision != 4 || r.Message != "nginx takes , but a server is left out" {
		t.Errorf("%+v, %v", r, err)
	}
	state.err = fleet.Errorf(fleet.Unknown, "none")
	_, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxcheck", "")
	kind(t, err, fleet.Unknown)
	// A node that never had one can be asked about its first.
	if _, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxcheck", `{"digest":"x"}`); err != nil {
		t.Error(err)
	}
	_, err = run(t, &handlers.Node{Nginx: engine, State: state}, "nginxcheck", `{"resources":[{"apiVersion":"fairlead/v1","kind":"VirtualHost","metadata":{"name":"x"},"spec":{}}]}`)
	kind(t, err, fleet.Invalid)
	engine.err = fleet.Errorf(fleet.Failed, "nginx refuses it")
	_, err = run(t, &handlers.Node{Nginx: engine, State: state}, "nginxcheck", `{"digest":"x"}`)
	if kind(t, err, fleet.Failed); fmt.Sprint(err) != "nginx refuses it" {
		t.Error(err)
	}
}
