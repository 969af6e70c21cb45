package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// mostFaults of one resource are told; more would bury the first.
const mostFaults = 20

// Inspect finds what is wrong with the raw configuration in a bundle without
// running nginx: its syntax, directives where they may not stand or with a
// wrong number of parameters, and everything that a ConfigFile may not do to
// the node that it is meant for (see allowed.txt and docs/nginx.md). The policy
// is the node's; the zero policy allows the least. Each fault names the resource and the
// line of its content. It is a pure function: stations and clients ask it before
// anything is sent, and the agent before nginx is told.
func Inspect(b Bundle, p fleet.NodePolicy) fleet.Faults {
	var faults fleet.Faults
	for _, f := range b.Files {
		if !isRaw(f) {
			continue
		}
		i := inspection{policy: p, owner: f.Owner}
		i.file(f)
		faults = append(faults, i.faults...)
	}
	return faults
}

// isRaw says whether a person wrote the file's directives.
func isRaw(f File) bool { return strings.HasPrefix(f.Owner, "ConfigFile/") }

// Policy is the node policy that the bundle was rendered with.
func (b Bundle) Policy() fleet.NodePolicy {
	for _, f := range b.Files {
		if f.Path == policyFile {
			return parsePolicy(f.Content)
		}
	}
	return fleet.NodePolicy{}
}

// inspection is that of one ConfigFile.
type inspection struct {
	policy  fleet.NodePolicy
	owner   string
	context string // http or stream
	faults  fleet.Faults
	memory  uint64 // of shared zones
}

func (i *inspection) faultf(line int, format string, args ...any) {
	if len(i.faults) < mostFaults {
		i.faults = append(i.faults, fleet.Fault{Subject: i.owner, Path: "spec.content", Message: fmt.Sprintf("line %d: ", line) + fmt.Sprintf(format, args...)})
	}
}

func (i *inspection) file(f File) {
	if problem := fleet.TextProblem(f.Content); problem != "" {
		i.faults = append(i.faults, fleet.Fault{Subject: i.owner, Path: "spec.content", Message: problem})
		return
	}
	i.context, _, _ = strings.Cut(f.Path, ".d/")
	all, err := read(string(f.Content))
	var wrong *syntaxError
	if errors.As(err, &wrong) {
		i.faultf(wrong.line, "%s", wrong.text)
		return
	}
	i.statements(all, i.context)
	if len(i.faults) == 0 { // a directive that may not be used need not be used rightly
		i.grammar(f.Content)
	}
}

// mapLike are the blocks whose lines are values instead of directives.
var mapLike = []string{"map", "geo", "types", "split_clients", "charset_map", "geoip2", "match", "otel_exporter"}

func (i *inspection) statements(all []statement, in string) {
	for _, s := range all {
		if slices.Contains(mapLike, in) && s.name() != "include" {
			if s.block {
				i.faultf(s.line, "%s holds values, not blocks", in)
			}
			continue
		}
		i.directive(s, in)
		i.statements(s.inner, s.name())
	}
}

func (i *inspection) directive(s statement, in string) {
	name := s.name()
	if reason, bad := refused[name]; bad {
		i.faultf(s.line, "%q %s", clip(name), reason)
		return
	}
	if !allowed[name] {
		brings := modulesOf(name)
		named := slices.ContainsFunc(brings, func(m string) bool { return slices.Contains(i.policy.Modules, m) })
		switch {
		case len(brings) == 0:
			i.faultf(s.line, "%q is no directive that a ConfigFile may use: is it misspelt, or is a ; missing before it?", clip(name))
			return
		case !named:
			i.faultf(s.line, "%q needs %s, which is off: a NodePolicy of the node has to name it in spec.modules", name, strings.Join(brings, " or "))
			return
		}
	}
	if at := namesFile(name); at > 0 {
		i.path(s, s.arg(at))
	}
	switch {
	case passes(name), name == "server" && in == "upstream":
		if problem := i.target(s.arg(1)); problem != "" {
			i.faultf(s.line, "%s: %s", name, problem)
		}
	case name == "listen" && strings.HasPrefix(s.arg(1), "unix:"):
		i.path(s, strings.TrimPrefix(s.arg(1), "unix:"))
	case name == "ssl_conf_command", strings.HasSuffix(name, "_ssl_conf_command"):
		if !slices.Contains(opensslCommands, strings.ToLower(s.arg(1))) {
			i.faultf(s.line, "%s %s: only %s may be set", name, clip(s.arg(1)), strings.Join(opensslCommands, ", "))
		}
	}
	i.bounds(s)
}

// opensslCommands are those of SSL_CONF_cmd(3) that name no file.
var opensslCommands = []string{"options", "ciphersuites", "cipherstring", "minprotocol", "maxprotocol", "protocol", "curves", "groups", "signaturealgorithms",
	"clientsignaturealgorithms", "numtickets"}

// path checks a file that nginx reads or writes.
func (i *inspection) path(s statement, file string) {
	name := s.name()
	isLog := name == "access_log" || name == "error_log"
	switch {
	case file == "" || file == "off" || isLog && (strings.HasPrefix(file, "syslog:") || file == "stderr"):
		return // a missing parameter is the grammar's
	case strings.Contains(file, "$"):
		i.faultf(s.line, "%s %q is put together by nginx as it runs: write the whole path", name, clip(file))
	case strings.HasPrefix(file, "engine:") || strings.HasPrefix(file, "store:") || strings.HasPrefix(file, "data:") || strings.HasPrefix(file, "memory:"):
		i.faultf(s.line, "%s %q is no file", name, clip(file))
	case !path.IsAbs(file):
		i.faultf(s.line, "%s %q: write the whole path", name, clip(file))
	case path.Clean(file) != strings.TrimSuffix(file, "/"):
		i.faultf(s.line, "%s %q: write the path without ., .. and //", name, clip(file))
	case !slices.ContainsFunc(i.policy.Directories, func(dir string) bool { return below(dir, file) }):
		i.faultf(s.line, "%s %q lies in no directory that nginx may use for this file, as root: "+
			"a NodePolicy of the node has to name the directory in spec.directories, or a typed resource do the work", name, clip(file))
	}
}

func below(dir, file string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return file == dir || strings.HasPrefix(file, dir+"/")
}

// target checks where requests are passed to: the node's own services and
// networks that the policy denies are none of a ConfigFile's business.
func (i *inspection) target(to string) string {
	_, rest, hasScheme := strings.Cut(to, "://")
	if !hasScheme {
		rest = to
	}
	if socket, ok := strings.CutPrefix(rest, "unix:"); ok {
		socket, _, _ = strings.Cut(socket, ":")
		return i.socket(socket)
	}
	if strings.HasPrefix(rest, "$") {
		if i.policy.Egress != nil {
			return fmt.Sprintf("%q is known only to each request, and the node's policy bounds where nginx may connect to: name an upstream", clip(to))
		}
		return ""
	}
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	host := rest
	if a, err := netip.ParseAddrPort(rest); err == nil {
		host = a.Addr().String()
	} else if at := strings.LastIndexByte(rest, ':'); at > 0 && !strings.HasSuffix(rest, "]") {
		host = rest[:at]
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return ""
	}
	ip = ip.Unmap()
	if i.policy.Egress == nil {
		if ip.IsLinkLocalUnicast() {
			return fmt.Sprintf("%s is link-local, where clouds keep their metadata: a NodePolicy with spec.egress may allow it", ip)
		}
		return ""
	}
	for _, network := range i.policy.Egress.Deny {
		if n, err := netip.ParsePrefix(network); err == nil && n.Contains(ip) {
			return fmt.Sprintf("%s is in %s, which the node's policy denies", ip, network)
		}
	}
	return ""
}

// runtimeSocket are the sockets whose owner can do anything on the host.
var runtimeSocket = regexp.MustCompile(`(^|/)(docker|containerd|crio|podman|dockershim|cri-dockerd|buildkitd|lxd|incus|libvirt|systemd|dbus)[^/]*(/|$)|\.\.`)

func (i *inspection) socket(file string) string {
	if e := i.policy.Egress; e != nil {
		if path.Clean(file) == file && slices.ContainsFunc(e.AllowSockets, func(dir string) bool { return below(dir, file) }) {
			return ""
		}
		return fmt.Sprintf("the socket %q lies in no directory of spec.egress.allowSockets of the node's policy", clip(file))
	}
	if runtimeSocket.MatchString(file) {
		return fmt.Sprintf("the socket %q belongs to a service that can do anything on the node", clip(file))
	}
	return ""
}

const (
	mostShared = 1 << 30 // bytes of all shared zones of one ConfigFile
	mostHash   = 1 << 20 // entries; nginx allocates for them as it starts
)

var zoneSize = regexp.MustCompile(`^(?:zone|keys_zone|shared):?=?[^:]*:(\d+)([kKmMgG]?)$`)

// bounds checks what is legal and ruins the node: expressions that take
// exponential time, and memory that is taken as nginx starts.
func (i *inspection) bounds(s statement) {
	for _, word := range s.words[1:] {
		if m := sharedSize(word); m > 0 {
			if i.memory += m; i.memory > mostShared {
				i.faultf(s.line, "the shared zones of this ConfigFile need more than 1 GiB")
				i.memory = 0
			}
		}
	}
	name := s.name()
	if strings.HasSuffix(name, "_hash_max_size") || strings.HasSuffix(name, "_hash_bucket_size") {
		if n, err := strconv.ParseUint(s.arg(1), 10, 64); err != nil || n > mostHash {
			i.faultf(s.line, "%s %s: use at most %d", name, clip(s.arg(1)), mostHash)
		}
	}
	for _, expression := range expressions(s) {
		if inner := fleet.Explosive(expression); inner != "" {
			i.faultf(s.line, "%q repeats %q, which itself repeats: some requests would take nginx exponentially long", clip(expression), clip(inner))
		}
	}
}

// sharedSize is the bytes of a zone= or shared: parameter, 0 for another one.
func sharedSize(word string) uint64 {
	m := zoneSize.FindStringSubmatch(word)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseUint(m[1], 10, 40)
	if err != nil {
		return mostShared + 1
	}
	return n << map[string]uint{"": 0, "k": 10, "m": 20, "g": 30}[strings.ToLower(m[2])]
}

// expressions are the regular expressions in a directive.
func expressions(s statement) []string {
	switch s.name() {
	case "location":
		if m := s.arg(1); m == "~" || m == "~*" {
			return []string{s.arg(2)}
		}
		return tilded(s.words[1:])
	case "rewrite":
		return []string{s.arg(1)}
	case "server_name", "valid_referers", "proxy_redirect", "proxy_cookie_path", "proxy_cookie_domain":
		return tilded(s.words[1:])
	case "if":
		for at, word := range s.words {
			if slices.Contains([]string{"~", "~*", "!~", "!~*"}, word) && at+1 < len(s.words) {
				return []string{strings.TrimSuffix(s.words[at+1], ")")}
			}
		}
	case "map":
		var all []string
		for _, value := range s.inner {
			all = append(all, tilded(value.words[:1])...)
		}
		return all
	}
	return nil
}

func tilded(words []string) (all []string) {
	for _, word := range words {
		if rest, ok := strings.CutPrefix(word, "~"); ok {
			all = append(all, strings.TrimPrefix(rest, "*"))
		}
	}
	return all
}

// grammar checks contexts and the number of parameters.
func (i *inspection) grammar(content []byte) {
	const root, file = "/nginx.conf", "/content"
	sources := []crossplane.MatchFunc{crossplane.MatchOssLatest, crossplane.MatchOss124}
	for _, m := range modules {
		if m.match != nil && slices.Contains(i.policy.Modules, m.name) {
			sources = append(sources, m.match)
		}
	}
	options := &crossplane.ParseOptions{
		DirectiveSources: sources,
		Open: func(name string) (io.ReadCloser, error) {
			if name == root {
				return io.NopCloser(strings.NewReader(i.context + " { include " + file + "; }")), nil
			}
			return io.NopCloser(bytes.NewReader(content)), nil
		},
	}
	if slices.Contains(i.policy.Modules, "ngx_http_lua_module") {
		options.LexOptions.Lexers = []crossplane.RegisterLexer{new(crossplane.Lua).RegisterLexer()}
	}
	payload, err := crossplane.Parse(root, options)
	if err != nil {
		i.faultf(1, "cannot be read: %v", err)
		return
	}
	for _, e := range payload.Errors {
		line, what := 1, e.Error.Error()
		if e.Line != nil {
			line = *e.Line
		}
		var wrong *crossplane.ParseError
		if errors.As(e.Error, &wrong) {
			what = wrong.What
		}
		i.faultf(line, "%s", what)
	}
}
