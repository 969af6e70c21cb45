package handlers_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

func TestABodyIsReadStrictly(t *testing.T) {
	type body struct {
		Name  string            `json:"name"`
		Inner struct{ N int }   `json:"inner"`
		Map   map[string]string `json:"map"`
	}
	got := body{}
	h := handlers.Of(handlers.Definition[body]{Method: "m", Handle: func(_ context.Context, _ *handlers.Node, c handlers.Command[body]) (handlers.Result, error) {
		got = c.Body
		return handlers.Result{}, nil
	}})
	for text, says := range map[string]string{
		`{"nmae":"x"}`:                 `body of m: unknown field "nmae"`,
		`{"name":"x","inner":{"M":1}}`: `unknown field "M"`,
		`{"name":7}`:                   "body of m: name: is number, and text is due",
		`{"inner":{"n":"1"}}`:          "inner.N: is string, and a number is due",
		`{"name":"x"} {}`:              "there is more behind the JSON value",
		`{"name":"x"}}`:                "there is more behind the JSON value",
		`{"name":"x"}x`:                "there is more behind the JSON value",
		`[]`:                           "body of m: the whole: is array, and an object is due",
		`{`:                            "unexpected EOF",
		"\x00":                         "invalid character",
	} {
		_, err := h.Handle(t.Context(), nil, handlers.Command[json.RawMessage]{Body: json.RawMessage(text)})
		kind(t, err, fleet.Invalid)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", " \n\t", "{}", "null", ` {"name":""} ` + "\n"} {
		got.Name = "left over"
		if _, err := h.Handle(t.Context(), nil, handlers.Command[json.RawMessage]{Body: json.RawMessage(text)}); err != nil || got.Name != "" {
			t.Errorf("%q reads %+v, %v", text, got, err)
		}
	}
}

func FuzzAnyBodyIsTakenOrInvalid(f *testing.F) {
	f.Add("shellcommand", []byte(`{"argv":["rm"]}`))
	f.Add("cancel", []byte(`{"id":"x"}`))
	f.Add("nginxconfig", []byte(`{"revision":18446744073709551616}`))
	node := &handlers.Node{Nginx: &fakeNginx{}, State: &fakeState{err: fleet.Errorf(fleet.Unknown, "none")}, Queue: &fakeQueue{}, Usage: noUsage}
	f.Fuzz(func(t *testing.T, method string, body []byte) {
		h, err := handlers.All().Find(method)
		if err != nil {
			return
		}
		_, err = h.Handle(t.Context(), node, handlers.Command[json.RawMessage]{ID: "x", Body: body})
		if fleet.KindOf(err) == fleet.Internal {
			t.Errorf("%s with %q: %v", method, body, err)
		}
	})
}

func TestADefinitionHasDefaults(t *testing.T) {
	h := handlers.Of(handlers.Definition[struct{}]{Method: "m", Once: true})
	if h.Timeout != time.Minute || !h.Durable || string(h.Example) != "{}" {
		t.Errorf("%+v", h)
	}
}

func TestTheCommandReachesItsHandlerWhole(t *testing.T) {
	sent := handlers.Command[json.RawMessage]{ID: "I", From: "alice", Received: 1, Resumed: true, Started: 2, Body: json.RawMessage(`"b"`),
		Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "m", Domain: "d"}}
	h := handlers.Of(handlers.Definition[string]{Method: "m", Handle: func(_ context.Context, _ *handlers.Node, c handlers.Command[string]) (handlers.Result, error) {
		if c.ID != "I" || c.From != "alice" || c.Received != 1 || !c.Resumed || c.Started != 2 || c.Body != "b" || c.Subject != sent.Subject {
			t.Errorf("got %+v", c)
		}
		return handlers.Result{}, nil
	}})
	if _, err := h.Handle(t.Context(), nil, sent); err != nil {
		t.Error(err)
	}
}

func TestAnUnknownMethodIsToldWithThoseThereAre(t *testing.T) {
	_, err := handlers.All().Find("nothing")
	kind(t, err, fleet.Unknown)
	for _, method := range handlers.All().Methods() {
		if !strings.Contains(err.Error(), method) {
			t.Errorf("%v does not name %s", err, method)
		}
	}
	if !slices.IsSorted(handlers.All().Methods()) {
		t.Error("methods are not sorted")
	}
}

func TestAMethodTakesItsOwnDomainAlone(t *testing.T) {
	for _, c := range []struct {
		method, domain string
		takes          bool
	}{
		{handlers.MethodReload, "nginx", true}, {handlers.MethodReload, "apache", false}, {handlers.MethodReload, "", false},
		{subjects.MethodCancel, handlers.MethodReload, true}, {subjects.MethodCancel, "mine", true},
	} {
		h, err := handlers.All().Find(c.method)
		if err != nil {
			t.Fatal(err)
		}
		if err = h.Takes(c.domain); (err == nil) != c.takes {
			t.Errorf("%s.%s: %v", c.method, c.domain, err)
		} else if err != nil {
			kind(t, err, fleet.Unknown)
		}
	}
}

func TestARoleMaySendWhatIsForItAndForLesserOnes(t *testing.T) {
	of := func(method string, role subjects.Role) handlers.Handler {
		return handlers.Of(handlers.Definition[struct{}]{Method: method, Role: role})
	}
	r := handlers.New(of("look", subjects.Viewer), of("change", subjects.Operator), of("anything", subjects.Admin), of("forgotten", ""))
	want := map[subjects.Role][]string{
		subjects.Admin:    {"anything", "change", "look"},
		subjects.Operator: {"change", "look"},
		subjects.Station:  {"change", "look"},
		subjects.Viewer:   {"look"},
		subjects.Node:     nil,
		"":                nil,
		"king":            nil,
	}
	sent := r.Sent()
	for role, methods := range want {
		var allowed []string
		for _, h := range r.Handlers() {
			if h.Allows(role) {
				allowed = append(allowed, h.Method)
			}
		}
		if !slices.Equal(allowed, methods) || !slices.Equal(sent[role], methods) {
			t.Errorf("%q may send %v, is granted %v, want %v", role, allowed, sent[role], methods)
		}
	}
}
