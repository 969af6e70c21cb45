package nginx

import (
	"fmt"
	"net/netip"
	"strings"

	"fairlead/pkg/fleet"
)

// anyIPv6 marks, at the end of its line, a listen directive that stands for
// "every address": staging drops it on a node whose kernel has no IPv6.
const anyIPv6 = " # every IPv6 address"

// listener is one address and port as nginx tells them apart.
type listener struct {
	text string // "192.0.2.1:80", "[2001:db8::1]:80"
	any6 bool   // [::] because every address was asked for
	transport
}

// transport is how a listener is spoken to. nginx has one for each listener,
// whatever the hosts on it say.
type transport struct {
	tls, http2, proxy bool
	versions          string // of TLS, "TLSv1.2 TLSv1.3"
}

// String is for people.
func (t transport) String() string {
	text := "without tls"
	if t.tls {
		text = "with tls (" + strings.ReplaceAll(t.versions, " ", ", ") + ")"
	}
	if t.http2 {
		text += " and http2"
	}
	if t.proxy {
		text += " and proxyProtocol"
	}
	return text
}

func transportOf(h *fleet.VirtualHost, l fleet.Listen) transport {
	t := transport{tls: l.TLS, http2: l.HTTP2, proxy: l.ProxyProtocol != nil}
	if l.TLS && h.TLS != nil {
		t.versions = tlsVersions(h.TLS)
	}
	return t
}

// directive is the whole line.
func (l listener) directive(parameters string) string {
	if l.tls {
		parameters += " ssl"
	}
	if l.http2 {
		parameters += phHTTP2
	}
	if l.proxy {
		parameters += " proxy_protocol"
	}
	line := "listen " + l.text + parameters + ";"
	if l.any6 {
		line += anyIPv6
	}
	return line
}

// listenersOf is what one Listen means on a node: two listeners where it
// means every address, else one.
func listenersOf(address string, l fleet.Listen) ([]listener, error) {
	if l.Address != "" {
		address = l.Address
	}
	if l.Port < 1 || l.Port > 65535 {
		return nil, fmt.Errorf("port %d is not between 1 and 65535", l.Port)
	}
	if address == "" {
		return []listener{
			{text: fmt.Sprintf("0.0.0.0:%d", l.Port)},
			{text: fmt.Sprintf("[::]:%d", l.Port), any6: true},
		}, nil
	}
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" {
		return nil, fmt.Errorf("%q is no IPv4 or IPv6 address", address)
	}
	return []listener{{text: netip.AddrPortFrom(ip.Unmap(), uint16(l.Port)).String()}}, nil
}

// withoutIPv6 drops the lines that stand for every IPv6 address.
func withoutIPv6(content string) string {
	var b strings.Builder
	for line := range strings.Lines(content) {
		if !strings.HasSuffix(strings.TrimRight(line, "\n"), anyIPv6) {
			b.WriteString(line)
		}
	}
	return b.String()
}
