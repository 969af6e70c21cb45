package main

import (
	"testing"

	"fairlead/pkg/station"
)

func TestTwinsAreToldApartWhereThatIsOfUse(t *testing.T) {
	for want, agents := range map[string][]station.Instance{
		"192.0.2.1 boot 11111111, 192.0.2.2 boot 22222222": {{Host: "192.0.2.1", BootID: "11111111-aa"}, {Host: "192.0.2.2", BootID: "22222222-aa"}},
		"2 on one host, 192.0.2.1 boot 11111111":           {{Host: "192.0.2.1", BootID: "11111111-aa"}, {Host: "192.0.2.1", BootID: "11111111-aa"}},
	} {
		if got := twins(station.NodeStatus{Agents: agents}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
