package adopt

import (
	"fmt"
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// Note is something that is not the same afterwards, or that a person should
// look at.
type Note struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Resource is what the directive became a part of, "" where it is left out.
	Resource string `json:"resource,omitempty"`
	Text     string `json:"text"`
}

// String is "file:line: text".
func (n Note) String() string {
	if n.File == "" {
		return n.Text
	}
	return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text)
}

// Result is what a configuration becomes.
type Result struct {
	Resources []fleet.Resource `json:"resources"`
	Notes     []Note           `json:"notes"`
	// Servers and Typed count server blocks, and those of them that became
	// virtual hosts.
	Servers int `json:"servers"`
	Typed   int `json:"typed"`
}

// Options say how resources are made.
type Options struct {
	// Selector is that of every resource, such as "node=ship1".
	Selector string
	// Prefix begins the names of raw resources, "adopted" when empty.
	Prefix string
}

// conversion is one Convert under way.
type conversion struct {
	config      *Configuration
	options     Options
	result      Result
	names       map[string]bool // of resources, in lower case
	servers     []*server
	upstreams   map[string]*group // by name as nginx compares them
	outer       crossplane.Directives
	directories []string              // that raw resources name files in
	pushed      crossplane.Directives // into every server, which then stays raw
}

// Convert turns the configuration into resources. It fails for nothing: what
// no resource can say is a note.
func (c *Configuration) Convert(o Options) Result {
	if o.Prefix == "" {
		o.Prefix = "adopted"
	}
	v := &conversion{config: c, options: o, names: map[string]bool{}, upstreams: map[string]*group{}}
	v.mainContext()
	v.http(blocks(c.main, "http"))
	v.choose()
	v.emit()
	v.stream(blocks(c.main, "stream"))
	v.policy()
	slices.SortFunc(v.result.Resources, func(a, b fleet.Resource) int { return strings.Compare(a.ID(), b.ID()) })
	return v.result
}

// Directives of the main context that Fairlead writes itself.
var ownMain = map[string]bool{
	"user": true, "worker_processes": true, "pid": true, "error_log": true, "lock_file": true, "daemon": true, "master_process": true,
	"events": true, "http": true, "stream": true, "load_module": true, "include": true, "worker_shutdown_timeout": true,
}

func (v *conversion) mainContext() {
	for _, d := range v.config.main {
		switch {
		case d.Directive == "load_module":
			v.note(d, "", "loads a module: Fairlead loads the modules that resources need by itself; others need a NodePolicy that names them")
		case d.Directive == "mail":
			v.note(d, "", "mail proxies cannot be adopted: leave them to an nginx of their own")
		case !ownMain[d.Directive]:
			v.note(d, "", fmt.Sprintf("%q is left out: Fairlead writes the main context itself", text(d)))
		}
	}
	for _, d := range blocks(v.config.main, "events") {
		if d.Directive != "worker_connections" && d.Directive != "multi_accept" && d.Directive != "use" {
			v.note(d, "", fmt.Sprintf("%q is left out", text(d)))
		}
		if d.Directive == "worker_connections" && len(d.Args) == 1 && d.Args[0] != "1024" && d.Args[0] != "768" && d.Args[0] != "512" {
			v.note(d, "", "worker_connections is 1024 in what Fairlead writes")
		}
	}
}

// stream keeps everything of stream{} as it is.
func (v *conversion) stream(all crossplane.Directives) {
	all = v.absolute(v.withoutLogs(all, ""))
	if len(all) == 0 {
		return
	}
	v.raw("stream", "stream", all)
}

func (v *conversion) note(d *crossplane.Directive, resource, what string) {
	v.result.Notes = append(v.result.Notes, Note{File: d.File, Line: d.Line, Resource: resource, Text: what})
}

// name makes a resource's name that nothing else has.
func (v *conversion) name(wanted string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(wanted) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	base := strings.Trim(b.String(), "-")
	if base == "" {
		base = "host"
	}
	base = base[:min(len(base), 55)]
	name := base
	for i := 2; v.names[name]; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	v.names[name] = true
	return name
}

func (v *conversion) add(name string, spec fleet.Spec) fleet.Resource {
	r := fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: name}, Spec: spec}
	v.result.Resources = append(v.result.Resources, r)
	return r
}
