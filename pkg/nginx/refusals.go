package nginx

import (
	"cmp"
	"time"

	"fairlead/pkg/fleet"
)

// refusalsFile is what refusals renders.
const refusalsFile = "http.d/default.conf"

// refusals renders a default host for every listener that has none: a name
// that nobody answers to gets no answer, instead of the first host's. Over TLS
// the handshake is refused already, so that no certificate tells of others.
//
// nginx reads a request's header by the default host's rules until it knows
// the name, so the widest of the listener's hosts hold here.
func (m *model) refusals() string {
	w := new(writer)
	for _, l := range m.listeners {
		if m.defaults[l.text] {
			continue
		}
		w.open("server")
		w.line("%s", l.directive(" default_server"))
		if l.http2 {
			w.b.WriteString(phHTTP2D)
		}
		w.line("server_name _;")
		if l.tls {
			w.line("ssl_protocols %s;", l.versions)
			w.b.WriteString(phReject)
		}
		headerLimits(w, m.widest(l.text))
		w.line("return 444;")
		w.close()
	}
	return w.String()
}

// widest is the most that any host of a listener takes for a request's header.
func (m *model) widest(listener string) *fleet.Limits {
	most := new(fleet.Limits)
	for _, r := range m.resources {
		h, ok := r.Spec.(*fleet.VirtualHost)
		if !ok || h.Limits == nil || !m.listensOn(h, listener) {
			continue
		}
		if duration(h.Limits.HeaderTimeout) > duration(most.HeaderTimeout) {
			most.HeaderTimeout = h.Limits.HeaderTimeout
		}
		if b := h.Limits.HeaderBuffers; b != nil {
			if most.HeaderBuffers == nil {
				most.HeaderBuffers = new(fleet.HeaderBuffers)
			}
			most.HeaderBuffers.Number = max(most.HeaderBuffers.Number, b.Number)
			if bytesOf(b.Size) > bytesOf(most.HeaderBuffers.Size) {
				most.HeaderBuffers.Size = b.Size
			}
		}
	}
	return most
}

func (m *model) listensOn(h *fleet.VirtualHost, text string) bool {
	for _, l := range m.listenersOf(h) {
		if l.text == text {
			return true
		}
	}
	return false
}

// duration is a checked duration of a spec, 0 where there is none.
func duration(text string) time.Duration {
	d, _ := time.ParseDuration(cmp.Or(text, "0s"))
	return d
}
