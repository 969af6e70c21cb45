package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// nowhere is an upstream that takes nothing: where connections go that no
// route is for. No resource can have its name.
const nowhere = "fairlead.nowhere"

// noServer is the line of an upstream that has no usable server: nginx wants
// one, and answers 502 without ever asking this one.
const noServer = "server 127.0.0.1:1 down;"

// stream renders one server block of the stream context, and the map that
// chooses its upstream by the name that a TLS client asks for.
func (m *model) stream(r fleet.Resource, s *fleet.Stream) string {
	w := new(writer)
	w.line("# %s", r.ID())
	to := s.Upstream
	if len(s.Routes) > 0 {
		to = routeVariable(r.Metadata.Name)
		routes(w, to, s)
	}
	w.open("server")
	parameters := ""
	if s.Protocol == "udp" { // reuseport: one client's datagrams go to one worker
		parameters += " udp reuseport"
	}
	if s.TLS != nil {
		parameters += " ssl"
	}
	if s.AcceptProxyProtocol {
		parameters += " proxy_protocol"
	}
	for _, l := range m.streamListeners(s) {
		w.line("%s", l.directive(parameters))
	}
	if s.TLS != nil {
		w.line(`ssl_certificate "%s/ssl/%s.crt";`, phVersion, s.TLS.Certificate)
		w.line(`ssl_certificate_key "%s/ssl/%s.key";`, phVersion, s.TLS.Certificate)
		w.line("ssl_protocols TLSv1.2 TLSv1.3;")
	}
	if len(s.Routes) > 0 {
		w.line("ssl_preread on;")
	}
	w.line("proxy_pass %s;", to)
	w.line("proxy_connect_timeout %s;", orElse(s.ConnectTimeout, "10s"))
	w.line("proxy_timeout %s;", orElse(s.IdleTimeout, "10m"))
	if s.SendProxyProtocol {
		w.line("proxy_protocol on;")
	}
	if s.Responses > 0 {
		w.line("proxy_responses %d;", s.Responses)
	}
	w.close()
	return w.String()
}

// routes renders the map from names to upstreams.
func routes(w *writer, variable string, s *fleet.Stream) {
	otherwise := s.Otherwise
	if otherwise == "" {
		otherwise = nowhere
	}
	w.open("map $ssl_preread_server_name %s", variable)
	w.line("hostnames;")
	w.line("default %s;", otherwise)
	for _, name := range slices.Sorted(maps.Keys(s.Routes)) {
		if slices.Contains(mapWords, strings.ToLower(name)) {
			name = `\` + name
		}
		w.line("%s %s;", name, s.Routes[strings.TrimPrefix(name, `\`)])
	}
	w.close()
}

// mapWords mean something of their own in a map unless a backslash precedes
// them. Before other names it would not do: `\t` is a tab.
var mapWords = []string{"default", "hostnames", "include", "volatile"}

// routeVariable is the variable of a stream's routes.
func routeVariable(name string) string { return variableOf("route", name) }

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// streamListeners is where a stream listens, each listener once, in order.
// The addresses have been checked.
func (m *model) streamListeners(s *fleet.Stream) []listener {
	var found []listener
	for _, listen := range s.Listen {
		some, _ := listenersOf(m.address, fleet.Listen{Address: listen.Address, Port: listen.Port})
		for _, l := range some {
			if !slices.ContainsFunc(found, func(o listener) bool { return o.text == l.text }) {
				found = append(found, l)
			}
		}
	}
	return found
}

// streamUpstreams renders what streams need beside their own files: the
// upstreams that they pass to, and the one that takes nothing.
func (m *model) streamUpstreams(add func(path, owner, content string)) {
	closes := false
	for _, r := range m.resources {
		switch s := r.Spec.(type) {
		case *fleet.Upstream:
			if m.streamed[r.ID()] {
				add(upstreamFile(inStream, r.Metadata.Name), r.ID(), upstream(inStream, r.Metadata.Name, s, asWritten))
			}
		case *fleet.Stream:
			closes = closes || len(s.Routes) > 0 && s.Otherwise == ""
		}
	}
	if closes {
		add("stream.d/nowhere.conf", "", fmt.Sprintf("upstream %s { %s }\n", nowhere, noServer))
	}
}

// streamless refuses what belongs into stream{} on a host that keeps its own
// nginx.conf: its line includes Fairlead's part of http{} alone.
func (c Config) streamless(b Bundle) error {
	if !c.including() {
		return nil
	}
	var faults fleet.Faults
	for _, f := range b.Files {
		if strings.HasPrefix(f.Path, "stream.d/") && f.Owner != "" && !strings.HasPrefix(f.Owner, "Upstream/") {
			faults = append(faults, fleet.Fault{Subject: f.Owner,
				Message: "this host keeps its own nginx.conf, where Fairlead manages a part of http{} and no stream{}: let the agent own nginx.conf, or choose other nodes"})
		}
	}
	return faults.Err()
}
