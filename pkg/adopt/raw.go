package adopt

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// raw adds a ConfigFile that holds directives as they are.
func (v *conversion) raw(context, name string, all crossplane.Directives) fleet.Resource {
	content := write(all)
	return v.add(v.name(v.options.Prefix+"-"+name), &fleet.ConfigFile{Selector: v.options.Selector, Context: context, Content: content})
}

// withoutLogs leaves out where logs go to: Fairlead forwards them, and an own
// path could fill the disk of a node that nobody looks at.
func (v *conversion) withoutLogs(all crossplane.Directives, resource string) crossplane.Directives {
	kept := crossplane.Directives{} // not nil: an empty block is one too
	for _, d := range all {
		switch {
		case d.Directive == "access_log" && len(d.Args) > 0 && d.Args[0] == "off":
			kept = append(kept, d)
		case d.Directive == "access_log", d.Directive == "error_log":
			v.note(d, resource, fmt.Sprintf("%q is left out: Fairlead forwards nginx's logs, see fairlead logs", text(d)))
		case d.Directive == "log_format", d.Directive == "open_log_file_cache":
		case d.Block != nil:
			c := *d
			c.Block = v.withoutLogs(d.Block, resource)
			kept = append(kept, &c)
		default:
			kept = append(kept, d)
		}
	}
	return kept
}

// Which argument of a directive is a path, and from where nginx takes it when
// it is relative: the directory of the main file, or the prefix.
var (
	pathsFromDir = map[string]bool{
		"auth_basic_user_file": true, "ssl_certificate": true, "ssl_certificate_key": true, "ssl_trusted_certificate": true,
		"ssl_client_certificate": true, "ssl_dhparam": true, "ssl_crl": true, "ssl_password_file": true, "ssl_session_ticket_key": true,
		"ssl_stapling_file": true, "proxy_ssl_certificate": true, "proxy_ssl_certificate_key": true, "proxy_ssl_trusted_certificate": true,
		"proxy_ssl_crl": true, "proxy_ssl_password_file": true,
	}
	pathsFromPrefix = map[string]bool{"root": true, "alias": true, "proxy_cache_path": true, "fastcgi_cache_path": true}
)

// absolute makes relative paths mean what they meant, wherever the file lies.
func (v *conversion) absolute(all crossplane.Directives) crossplane.Directives {
	out := make(crossplane.Directives, 0, len(all))
	for _, d := range all {
		c := *d
		if d.Block != nil {
			c.Block = v.absolute(d.Block)
		}
		base := ""
		switch {
		case pathsFromDir[d.Directive]:
			base = v.config.Dir
		case pathsFromPrefix[d.Directive]:
			base = v.config.Prefix
		}
		if base != "" && len(d.Args) > 0 && relative(d.Args[0]) {
			c.Args = append([]string{join(base, d.Args[0])}, d.Args[1:]...)
		}
		if base != "" && len(c.Args) > 0 && c.Directive != "root" && c.Directive != "alias" {
			v.touches(c.Directive, c.Args[0])
		}
		out = append(out, &c)
	}
	return out
}

// touches notes a file that nginx reads or writes as root, which a raw
// resource may only name where a policy of the node has its directory.
func (v *conversion) touches(directive, path string) {
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "$") {
		return
	}
	dir := filepath.Dir(path)
	if strings.HasSuffix(directive, "_cache_path") {
		dir = filepath.Clean(path) // itself the directory
	}
	if !slices.Contains(v.directories, dir) {
		v.directories = append(v.directories, dir)
	}
}

// policy allows raw resources the directories that they name.
func (v *conversion) policy() {
	if len(v.directories) == 0 {
		return
	}
	slices.Sort(v.directories)
	r := v.add(v.name(v.options.Prefix), &fleet.NodePolicy{Selector: v.options.Selector, Directories: v.directories})
	v.result.Notes = append(v.result.Notes, Note{Resource: r.ID(),
		Text: fmt.Sprintf("%s lets raw configuration name files below %s", r.ID(), strings.Join(v.directories, ", "))})
}

func relative(path string) bool {
	return path != "" && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "$") && !strings.HasPrefix(path, "data:") && !strings.HasPrefix(path, "engine:")
}

// join keeps a slash at the end, which alias needs.
func join(base, path string) string {
	joined := filepath.Join(base, path)
	if strings.HasSuffix(path, "/") {
		joined += "/"
	}
	return joined
}
