package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"fairlead/pkg/fleet"
)

// maxText is the most bytes of a Return's text: more belongs into a file.
const maxText = 64 << 10

// check refuses in one resource what quoting could not carry into nginx
// unchanged. It stands behind the resource's own validation and does not trust
// it: what gets through here is safe to write.
func check(spec fleet.Spec) fleet.Faults {
	var faults fleet.Faults
	switch s := spec.(type) {
	case *fleet.VirtualHost:
		checkHost(s, &faults)
	case *fleet.Upstream:
		checkUpstream(s, &faults)
	case *fleet.Stream:
		checkStream(s, &faults)
	case *fleet.Certificate:
		checkCertificate(s, &faults)
	case *fleet.ConfigFile:
		if s.Context != "http" && s.Context != "stream" {
			faults.Addf("spec.context", "%q is neither http nor stream", s.Context)
		}
		if strings.ContainsRune(s.Content, 0) {
			faults.Addf("spec.content", "contains a NUL byte: is it a text file?")
		}
	}
	return faults
}

func checkHost(h *fleet.VirtualHost, faults *fleet.Faults) {
	if len(h.Listen) == 0 {
		faults.Addf("spec.listen", "is empty")
	}
	if len(h.ServerNames) == 0 {
		faults.Addf("spec.serverNames", "is empty")
	}
	for i, l := range h.Listen {
		_, err := listenersOf("", l)
		addErr(faults, fieldOf("spec.listen", i), err)
	}
	for i, name := range h.ServerNames {
		if !serverName.MatchString(name) || len(name) > 253 {
			faults.Addf(fieldOf("spec.serverNames", i), "%q is no host name", name)
		}
	}
	checkHeaders("spec.headers", h.Headers, faults)
	for i, l := range h.Locations {
		checkLocation(fieldOf("spec.locations", i), l, faults)
	}
}

func checkLocation(path string, l fleet.Location, faults *fleet.Faults) {
	switch l.Match {
	case "", "prefix", "exact":
		if !strings.HasPrefix(l.Path, "/") {
			faults.Addf(path+".path", "%q does not begin with /", l.Path)
		}
		addErr(faults, path+".path", plain(l.Path))
	case "regex": // $, {, } and \ are part of the language; nginx expands no variables here
		if l.Path == "" || len(literal(l.Path)) > maxParameter || strings.ContainsFunc(l.Path, unicode.IsControl) {
			faults.Addf(path+".path", "is empty, too long or contains control characters")
		}
	default:
		faults.Addf(path+".match", "%q is neither prefix, exact nor regex", l.Match)
	}
	checkHeaders(path+".headers", l.Headers, faults)
	ways := 0
	if r := l.Return; r != nil {
		ways++
		checkReturn(path+".return", r, faults)
	}
	if l.Root != "" {
		ways++
		if !strings.HasPrefix(l.Root, "/") {
			faults.Addf(path+".root", "%q is not absolute", l.Root)
		}
		addErr(faults, path+".root", plain(l.Root))
		for i, name := range l.Index {
			if name == "" || strings.ContainsAny(name, "/ ") {
				faults.Addf(fieldOf(path+".index", i), "%q is no file name", name)
			}
			addErr(faults, fieldOf(path+".index", i), plain(name))
		}
	}
	if l.Proxy != nil {
		ways++
		checkHeaders(path+".proxy.headers", l.Proxy.Headers, faults)
	}
	if r := l.Redirect; r != nil {
		ways++
		if !strings.HasPrefix(r.To, "/") && !strings.HasPrefix(r.To, "http://") && !strings.HasPrefix(r.To, "https://") || strings.Contains(r.To, " ") {
			faults.Addf(path+".redirect.to", "%q is neither a path nor an http or https URL", r.To)
		}
		addErr(faults, path+".redirect.to", plain(r.To))
		if r.Code != 0 && !redirects(r.Code) {
			faults.Addf(path+".redirect.code", "%d is no redirect", r.Code)
		}
	}
	if ways != 1 {
		faults.Addf(path, "needs exactly one of return, root, proxy and redirect")
	}
}

func checkReturn(path string, r *fleet.Return, faults *fleet.Faults) {
	if r.Code < 200 || r.Code > 599 {
		faults.Addf(path+".code", "%d is not between 200 and 599", r.Code)
	}
	if redirects(r.Code) {
		faults.Addf(path+".code", "%d redirects: use redirect", r.Code)
	}
	if strings.ContainsRune(r.Text, 0) || len(r.Text) > maxText {
		faults.Addf(path+".text", "contains a NUL byte or is longer than %d bytes", maxText)
	}
	if r.ContentType != "" && (!contentType.MatchString(r.ContentType) || len(r.ContentType) > 200) {
		faults.Addf(path+".contentType", "%q is no content type", r.ContentType)
	}
}

func checkHeaders(path string, headers map[string]string, faults *fleet.Faults) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !fieldName.MatchString(name) {
			faults.Addf(path, "%q is no header name", name)
		}
		addErr(faults, path+"."+name, headerValue(headers[name]))
	}
}

func addErr(faults *fleet.Faults, path string, err error) {
	if err != nil {
		faults.Addf(path, "%v", err)
	}
}

func redirects(code int) bool {
	return slices.Contains([]int{301, 302, 303, 307, 308}, code)
}

func fieldOf(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
