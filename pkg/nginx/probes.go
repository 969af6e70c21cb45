package nginx

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// probe is one question to one server of a staged version: does it answer as
// its own configuration says?
type probe struct {
	owner   string // ID of the resource, or the file where none owns it
	network string // "tcp" or "unix"
	address string // to connect to: 127.0.0.1 stands for every address
	name    string // asked for, by SNI and Host
	proxied bool   // the listener wants to be told of a proxy first
	tls     bool
	leaves  []string // files whose first certificate may be answered; none is any
	picky   bool     // it chooses protocols or ciphers, which the probe may not have
	// head asks for / and judges the answer. Else TRACE is asked, which nginx
	// answers itself before it looks for a location: nothing reaches a server
	// behind it.
	head   bool
	silent bool         // closing without an answer is asked for
	asked  map[int]bool // statuses of 500 and more that are asked for
}

// probesOf are the probes of all servers in files that changed: each server
// once with TLS and once without, and each listener at least once. Files that
// cannot be parsed have none; nginx judges those.
func probesOf(files []File, changed func(File) bool) []probe {
	var all []probe
	heard := map[string]bool{}
	for _, f := range files {
		if !strings.HasPrefix(f.Path, "http.d/") || !changed(f) {
			continue
		}
		for _, server := range servers(f) {
			all = append(all, serverProbes(f, server, heard)...)
		}
	}
	return all
}

// servers are the server blocks of a file.
func servers(f File) (all [][]statement) {
	statements, err := read(string(f.Content))
	if err != nil {
		return nil
	}
	for _, s := range statements {
		if s.name() == "server" && s.block {
			all = append(all, s.inner)
		}
	}
	return all
}

func serverProbes(f File, server []statement, heard map[string]bool) []probe {
	base := probe{owner: f.Owner, asked: map[int]bool{}}
	if f.Owner == "" {
		base.owner = f.Path
	}
	var names []string
	var listens []statement
	for _, d := range server {
		switch d.name() {
		case "listen":
			listens = append(listens, d)
		case "server_name":
			names = append(names, d.args()...)
		case "ssl_certificate":
			base.leaves = append(base.leaves, d.args()...)
		case "ssl_ciphers":
			base.picky = true
		case "ssl_protocols":
			base.picky = base.picky || !slices.Contains(d.args(), "TLSv1.2") && !slices.Contains(d.args(), "TLSv1.3")
		case "ssl_reject_handshake":
			return nil
		}
	}
	base.judge(server)
	var all []probe
	done := map[bool]bool{} // with TLS, without
	for _, l := range listens {
		p, ok := base.at(l)
		p.name = probeName(names, slices.Contains(l.args(), "default_server"))
		if !ok || p.name == "" || done[p.tls] && heard[p.address] {
			continue
		}
		done[p.tls], heard[p.address] = true, true
		all = append(all, p)
	}
	return all
}

// at is the probe for one listen directive; false where it is not TCP.
func (p probe) at(listen statement) (probe, bool) {
	args := listen.args()
	if len(args) == 0 || slices.Contains(args, "udp") || slices.Contains(args, "quic") {
		return p, false
	}
	p.tls = slices.Contains(args, "ssl")
	p.proxied = slices.Contains(args, "proxy_protocol")
	p.network = "tcp"
	text := args[0]
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		p.network, p.address = "unix", path
		return p, true
	}
	if _, err := strconv.Atoi(text); err == nil {
		text = "*:" + text
	}
	host, port := text, "80"
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	switch host {
	case "*", "0.0.0.0":
		host = "127.0.0.1"
	case "[::]":
		host = "[::1]"
	}
	p.address = host + ":" + port
	return p, true
}

// probeName is a name that a server answers to, "" where none can be told:
// an expression, or no name on a listener whose default is another.
func probeName(names []string, isDefault bool) string {
	for _, n := range names {
		switch {
		case n == "", n == "_", strings.HasPrefix(n, "~"), strings.HasSuffix(n, ".*"), strings.ContainsAny(n, "$ \t\r\n"):
		case strings.HasPrefix(n, "*."):
			return "fairlead-probe" + n[1:]
		default:
			return strings.TrimPrefix(n, ".")
		}
	}
	if isDefault {
		return "fairlead-probe.invalid"
	}
	return ""
}

// judge finds out by what a server may be judged.
func (p *probe) judge(server []statement) {
	handsOn, regex, rewrites := false, false, false
	var root *statement // the location of /
	walk(server, func(d *statement) {
		name, args := d.name(), d.args()
		switch {
		case strings.HasSuffix(name, "_pass"), name == "auth_request", name == "mirror",
			strings.HasPrefix(name, "js_"), strings.HasPrefix(name, "perl"), strings.Contains(name, "_by_lua"):
			handsOn = true
		case name == "include":
			handsOn, rewrites = true, true // what it holds is not known
		case name == "if", name == "rewrite", name == "set":
			rewrites = true
		case name == "limit_req", name == "limit_conn":
			p.asked[503] = true
		case name == "location" && len(args) > 1 && strings.HasPrefix(args[0], "~"):
			regex = true
		case name == "location" && len(args) == 1 && args[0] == "/",
			name == "location" && len(args) == 2 && args[1] == "/":
			if root == nil || args[0] == "=" {
				root = d
			}
		}
		if name == "return" || name == "error_page" || name == "try_files" || strings.HasSuffix(name, "_status") {
			p.asks(args)
		}
	})
	answers := func(s statement) bool { return s.name() == "return" }
	switch {
	case !handsOn, slices.ContainsFunc(server, answers) && !rewrites:
		p.head = true
	case root != nil && !regex && !rewrites:
		p.head = slices.ContainsFunc(root.inner, answers)
	}
}

// asks notes the statuses that a directive names.
func (p *probe) asks(args []string) {
	for _, a := range args {
		code, _ := strconv.Atoi(strings.TrimPrefix(a, "="))
		if code == 444 {
			p.silent = true
		}
		if code >= 500 {
			p.asked[code] = true
		}
	}
}

func walk(all []statement, visit func(*statement)) {
	for i := range all {
		visit(&all[i])
		walk(all[i].inner, visit)
	}
}

// changedFrom says of a file of v whether it, or a certificate that it names,
// differs from what another version has under that path.
func (v version) changedFrom(other version) func(File) bool {
	files, others := v.Manifest.apart(), other.Manifest.apart()
	before := make(map[string]string, len(others))
	for _, f := range others {
		before[f.Path] = f.Source
	}
	var certificates [][]byte // full paths of those that changed
	for _, f := range files {
		if strings.HasPrefix(f.Path, "ssl/") && before[f.Path] != f.Source {
			certificates = append(certificates, []byte(filepath.Join(v.Dir, f.Path)))
		}
	}
	now := make(map[string]string, len(files))
	for _, f := range files {
		now[f.Path] = f.Source
	}
	return func(f File) bool {
		names := func(path []byte) bool { return bytes.Contains(f.Content, path) }
		return now[f.Path] == "" || now[f.Path] != before[f.Path] || slices.ContainsFunc(certificates, names)
	}
}
