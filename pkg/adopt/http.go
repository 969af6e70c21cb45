package adopt

import (
	"fmt"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// What Fairlead's own http{} says by itself, with the value it has there. A
// directive may stand there once, so these cannot come along.
var ownHTTP = map[string]string{
	"sendfile": "on", "server_tokens": "off", "types_hash_max_size": "", "types_hash_bucket_size": "",
	"server_names_hash_max_size": "", "server_names_hash_bucket_size": "",
	"variables_hash_max_size": "", "variables_hash_bucket_size": "",
	"proxy_headers_hash_max_size": "", "proxy_headers_hash_bucket_size": "",
	"client_body_temp_path": "", "proxy_temp_path": "", "fastcgi_temp_path": "", "uwsgi_temp_path": "", "scgi_temp_path": "",
	"default_type": "application/octet-stream",
}

// http sorts what stands in http{}.
func (v *conversion) http(all crossplane.Directives) {
	types := map[string]string{}
	defaultType := "text/plain" // nginx's own, where the configuration says nothing
	var first *crossplane.Directive
	for _, d := range all {
		own, isOwn := ownHTTP[d.Directive]
		switch {
		case d.Directive == "server":
			v.servers = append(v.servers, v.readServer(d))
		case d.Directive == "upstream" && len(d.Args) == 1:
			v.upstreams[strings.ToLower(d.Args[0])] = &group{name: d.Args[0], directive: d}
		case d.Directive == "types":
			readTypes(types, d.Block)
		case d.Directive == "default_type" && len(d.Args) == 1:
			defaultType, first = d.Args[0], d
		case isOwn:
			if own != "" && len(d.Args) > 0 && d.Args[0] != own {
				v.note(d, "", fmt.Sprintf("%q becomes %q", text(d), d.Directive+" "+own))
			}
		default:
			v.outer = append(v.outer, v.withoutLogs(crossplane.Directives{d}, "")...)
		}
	}
	v.result.Servers = len(v.servers)
	if defaultType != ownHTTP["default_type"] {
		d := &crossplane.Directive{Directive: "default_type", Args: []string{defaultType}}
		if first == nil {
			first = d
		}
		v.pushed = append(v.pushed, d)
		v.note(first, "", fmt.Sprintf("the default type is %s: hosts that serve files stay raw for that", defaultType))
	}
	if !sameTypes(types) {
		v.pushed = append(v.pushed, typesBlock(types))
		v.note(&crossplane.Directive{}, "", "the types of file extensions differ from Fairlead's: hosts that serve files stay raw for that")
	}
}
