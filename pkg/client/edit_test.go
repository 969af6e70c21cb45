package client_test

import (
	"errors"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

func TestWhatIsChangedOfANodeLeavesTheRest(t *testing.T) {
	s := open(t)
	s.nodes(map[string]string{"a": "1"}, "ship1", "ship2")
	before, err := s.client.Registered(within(t), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	raced := false
	changed, err := s.client.Edit(within(t), []string{"ship1", "ship2"}, func(r *station.NodeRecord) error {
		if !raced { // somebody is faster
			raced = true
			other := before
			other.Address = "127.0.0.9"
			if err := s.client.Register(within(t), other); err != nil {
				t.Fatal(err)
			}
		}
		if r.Name == "ship1" {
			r.Labels["b"] = "2"
		}
		return nil
	})
	if err != nil || strings.Join(changed, " ") != "ship1" {
		t.Fatalf("%v, %v", changed, err)
	}
	after, err := s.client.Registered(within(t), "ship1")
	if err != nil || after.Labels["a"] != "1" || after.Labels["b"] != "2" || after.Address != "127.0.0.9" || after.Key != before.Key || !after.Since.Equal(before.Since) {
		t.Errorf("%+v, %v", after, err)
	}
	if _, err := s.client.Edit(within(t), []string{"ghost"}, func(*station.NodeRecord) error { return nil }); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("%v", err)
	}
	no := errors.New("no")
	if _, err := s.client.Edit(within(t), []string{"ship1"}, func(*station.NodeRecord) error { return no }); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
}
