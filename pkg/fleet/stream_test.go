package fleet_test

import (
	"testing"

	"fairlead/pkg/fleet"
)

func TestStreamsHaveOneWayOn(t *testing.T) {
	at := []fleet.StreamListen{{Port: 1}}
	routes := map[string]string{"a.example.org": "a"}
	for path, s := range map[string]fleet.Stream{
		"spec.listen":              {Upstream: "a"},
		"spec.listen[0].port":      {Listen: []fleet.StreamListen{{}}, Upstream: "a"},
		"spec.listen[0].address":   {Listen: []fleet.StreamListen{{Address: "here", Port: 1}}, Upstream: "a"},
		"spec.listen[1]":           {Listen: []fleet.StreamListen{{Port: 1}, {Port: 1}}, Upstream: "a"},
		"spec.protocol":            {Listen: at, Upstream: "a", Protocol: "sctp"},
		"spec.upstream":            {Listen: at},
		"spec.routes":              {Listen: at, Upstream: "a", Routes: routes},
		"spec.routes._":            {Listen: at, Routes: map[string]string{"_": "a"}},
		"spec.routes.a; }":         {Listen: at, Routes: map[string]string{"a; }": "a"}},
		"spec.routes.b":            {Listen: at, Routes: map[string]string{"b": "a; }"}},
		"spec.otherwise":           {Listen: at, Upstream: "a", Otherwise: "b"},
		"spec.tls":                 {Listen: at, Routes: routes, TLS: &fleet.StreamTLS{Certificate: "c"}},
		"spec.tls.certificate":     {Listen: at, Upstream: "a", TLS: &fleet.StreamTLS{Certificate: "../c"}},
		"spec.acceptProxyProtocol": {Listen: at, Upstream: "a", Protocol: "udp", AcceptProxyProtocol: true},
		"spec.responses":           {Listen: at, Upstream: "a", Responses: 1},
		"spec.connectTimeout":      {Listen: at, Upstream: "a", ConnectTimeout: "1s;"},
		"spec.idleTimeout":         {Listen: at, Upstream: "a", IdleTimeout: "-1s"},
		"spec.selector":            {Listen: at, Upstream: "a", Selector: "="},
	} {
		if faults := s.Validate(); len(faults) != 1 || faults[0].Path != path {
			t.Errorf("%s gives %v, want one fault there", path, faults)
		}
	}
	for _, s := range []fleet.Stream{
		{Listen: at, Upstream: "a", Protocol: "udp", Responses: 1, SendProxyProtocol: true},
		{Listen: at, Routes: map[string]string{"default": "a", "*.example.org": "b"}, Otherwise: "c", AcceptProxyProtocol: true},
		{Listen: at, Upstream: "a", TLS: &fleet.StreamTLS{Certificate: "c"}, IdleTimeout: "1h"},
	} {
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%+v has %v", s, faults)
		}
	}
}
