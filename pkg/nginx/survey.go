package nginx

import (
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"

	"fairlead/pkg/fleet"
)

// survey is what a staged version says that nginx -t does not judge.
type survey struct {
	listens map[listen][]fleet.Fault // and who asks for it, and where; without a message
	zones   map[zone]zoneKey
	writes  []string               // directories that nginx makes, or makes files in, as root
	reads   []fileAt               // files that raw configuration names
	names   map[string]fleet.Fault // host names that nginx itself would resolve
	servers int
}

// listen is an address that nginx listens on.
type listen struct {
	address netip.AddrPort
	udp     bool
}

// fileAt is a file and who names it.
type fileAt struct {
	path string
	at   fleet.Fault // without a message
}

// zone is what nginx knows a shared zone by: where these are the same, its
// memory is used again, with all that is in it.
type zone struct{ directive, name, size string }

// zoneKey is what a zone that is used again has to have as before.
type zoneKey struct {
	key string
	at  fleet.Fault // Subject and line, without a message
}

// surveyOf reads the files that resources were rendered to. One that cannot
// be read has nothing; nginx judges it.
func surveyOf(files []File) survey {
	s := survey{listens: map[listen][]fleet.Fault{}, zones: map[zone]zoneKey{}, names: map[string]fleet.Fault{}}
	for _, f := range files {
		context, _, ok := strings.Cut(f.Path, ".d/")
		if !ok || !strings.HasSuffix(f.Path, ".conf") {
			continue
		}
		all, err := read(string(f.Content))
		if err != nil {
			continue
		}
		groups := map[string]bool{}
		for _, st := range all {
			if st.name() == "upstream" {
				groups[st.arg(1)] = true
			}
		}
		s.statements(f, context, all, groups)
	}
	return s
}

func (s *survey) statements(f File, in string, all []statement, groups map[string]bool) {
	for _, st := range all {
		name := st.name()
		at := fleet.Fault{Subject: f.Owner, Line: st.line}
		if i := namesFile(name); i > 0 && isRaw(f) && path.IsAbs(st.arg(i)) {
			s.reads = append(s.reads, fileAt{st.arg(i), at})
		}
		switch {
		case name == "server" && st.block:
			s.servers++
		case name == "listen" && in == "server":
			if l, ok := listenOf(st); ok {
				s.listens[l] = append(s.listens[l], at)
			}
			if socket, ok := strings.CutPrefix(st.arg(1), "unix:"); ok && path.IsAbs(socket) {
				s.writes = append(s.writes, path.Dir(socket))
			}
		case strings.HasSuffix(name, "_cache_path"):
			s.writes = append(s.writes, st.arg(1))
			s.zone(f, st, "keys_zone=", st.arg(1), at)
		case name == "limit_req_zone", name == "limit_conn_zone":
			s.zone(f, st, "zone=", st.arg(1), at)
		case name == "access_log" || name == "error_log":
			if path.IsAbs(st.arg(1)) {
				s.writes = append(s.writes, path.Dir(st.arg(1)))
			}
		case isRaw(f) && (passes(name) || name == "server" && in == "upstream"):
			if host := hostOf(st.arg(1)); host != "" && !groups[host] {
				s.names[host] = at
			}
		}
		s.statements(f, name, st.inner, groups)
	}
}

func (s *survey) zone(f File, st statement, parameter, key string, at fleet.Fault) {
	for _, word := range st.words {
		rest, ok := strings.CutPrefix(word, parameter)
		name, size, _ := strings.Cut(rest, ":")
		if ok {
			context, _, _ := strings.Cut(f.Path, ".d/")
			s.zones[zone{context + " " + st.name(), name, size}] = zoneKey{key, at}
		}
	}
}

// listenOf reads a listen directive: an address and port, either alone, or a
// name, which is left to nginx, as a unix socket is.
func listenOf(st statement) (listen, bool) {
	text := st.arg(1)
	l := listen{}
	for _, word := range st.words[min(2, len(st.words)):] {
		l.udp = l.udp || word == "udp" || word == "quic"
	}
	if port, err := strconv.ParseUint(text, 10, 16); err == nil {
		l.address = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port))
		return l, true
	}
	text = strings.Replace(text, "*:", "0.0.0.0:", 1)
	if a, err := netip.ParseAddrPort(text); err == nil {
		l.address = a
		return l, true
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		l.address = netip.AddrPortFrom(a, 80)
		return l, true
	}
	return l, false
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+\.?$`)

// hostOf is the name in a target that nginx would resolve as it reads its
// configuration: not an address, a variable or a socket, and with a dot in
// it, as most names of upstreams have none.
func hostOf(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		target = rest
	}
	if strings.Contains(target, "$") || strings.HasPrefix(target, "unix:") {
		return ""
	}
	if end := strings.IndexAny(target, "/?"); end >= 0 {
		target = target[:end]
	}
	if at := strings.LastIndexByte(target, ':'); at > 0 && !strings.HasSuffix(target, "]") {
		target = target[:at]
	}
	if _, err := netip.ParseAddr(target); err == nil || !hostName.MatchString(target) {
		return ""
	}
	return target
}
