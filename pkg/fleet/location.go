package fleet

import (
	"fmt"
	"mime"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"
)

// Location says what happens below one path. Exactly one of `return`, `root`,
// `alias`, `proxy` and `redirect` is set. Access, passwords and policies hold
// for each of them.
type Location struct {
	// Path begins with `/` and is compared with the request's decoded path; with match regex it is an
	// expression that Go and PCRE both read, at most 512 bytes, without named groups or repeated repetitions.
	Path string `json:"path"`
	// Match is prefix (default), exact or regex.
	Match string `json:"match,omitempty"`
	// Return answers with a fixed text.
	Return *Return `json:"return,omitempty"`
	// Root is the absolute directory on the node that files are served from.
	Root string `json:"root,omitempty"`
	// Alias is the directory that stands for the path itself; both end in `/`, and match is prefix.
	Alias string `json:"alias,omitempty"`
	// Index holds the file names tried for a directory; with `root` and `alias` only.
	Index []string `json:"index,omitempty"`
	// TryFiles are tried in turn, with `root` only: `$uri`, `$uri/`, `$uri.html` and paths; the last is a path that
	// is served in any case, or a status as `=404`.
	TryFiles []string `json:"tryFiles,omitempty"`

	// Proxy passes requests to an upstream.
	Proxy *Proxy `json:"proxy,omitempty"`
	// Redirect sends the client elsewhere.
	Redirect *Redirect `json:"redirect,omitempty"`
	// Rewrites change the path; not with `return` and `redirect`.
	Rewrites []Rewrite `json:"rewrites,omitempty"`
	// Headers are added to responses of this location.
	Headers map[string]string `json:"headers,omitempty"`
	// Access stands in for that of the host.
	Access []AddressRule `json:"access,omitempty"`
	// BasicAuth stands in for that of the host.
	BasicAuth *BasicAuth `json:"basicAuth,omitempty"`
	// CORS stands in for that of the host.
	CORS *CORS `json:"cors,omitempty"`
	// Gzip stands in for that of the host.
	Gzip *Gzip `json:"gzip,omitempty"`
	// Cache keeps answers of the upstream; with `proxy` only.
	Cache *Cache `json:"cache,omitempty"`
	// Limits stand in for those of the host, one by one; without those of headers, which are read before there is a location.
	Limits *Limits `json:"limits,omitempty"`
	// ErrorPages come before those of the host.
	ErrorPages []ErrorPage `json:"errorPages,omitempty"`
	// Policies are names of Policy resources, beside those of the host.
	Policies []string `json:"policies,omitempty"`
	// Log stands in for that of the host.
	Log *Log `json:"log,omitempty"`
}

// Return answers with a fixed status and text.
type Return struct {
	Code        int    `json:"code"`                  // 200 to 599
	Text        string `json:"text,omitempty"`        // body, sent as it is; at most 4000 bytes; not with a code that has no body
	ContentType string `json:"contentType,omitempty"` // media type of the text, text/plain when empty
}

// Redirect sends the client elsewhere.
type Redirect struct {
	To   string `json:"to"`             // path, or absolute http or https URL
	Code int    `json:"code,omitempty"` // 301, 302 (default), 303, 307 or 308
	// KeepPath appends the request's path and query, so `to` may then have none.
	KeepPath bool `json:"keepPath,omitempty"`
}

// nginx reads configuration in a buffer of 4,096 bytes (NGX_CONF_BUFFER) and
// refuses a longer word. These bounds leave room for quotes and the directive.
const (
	maxPath  = 1024
	maxText  = 4000
	maxValue = 2000
)

// check adds the faults of one location, whose path in the document is at.
func (l *Location) check(faults *Faults, at string) {
	oneOf(faults, at+".match", l.Match, "", "prefix", "exact", "regex")
	if l.Match == "regex" {
		faults.add(at+".path", regexProblem(l.Path))
	} else {
		faults.add(at+".path", locationPathProblem(l.Path))
	}
	l.checkAction(faults, at)
	l.checkFiles(faults, at)
	checkHeaders(faults, at+".headers", l.Headers)
	checkRewrites(faults, at+".rewrites", l.Rewrites)
	if len(l.Rewrites) > 0 && (l.Return != nil || l.Redirect != nil) {
		faults.Addf(at+".rewrites", "do not go with return and redirect, which answer whatever the path is")
	}
	checkAccess(faults, at+".access", l.Access)
	l.BasicAuth.check(faults, at+".basicAuth")
	l.CORS.check(faults, at+".cors")
	l.Gzip.check(faults, at+".gzip")
	l.checkCache(faults, at)
	l.Limits.check(faults, at+".limits")
	l.Limits.checkLocation(faults, at+".limits")
	checkErrorPages(faults, at+".errorPages", l.ErrorPages)
	checkPolicyNames(faults, at+".policies", l.Policies)
	l.Log.check(faults, at+".log")
}

// checkPolicyNames adds the faults of a list of Policy resources.
func checkPolicyNames(faults *Faults, at string, names []string) {
	atMost(faults, at, len(names), maxItems)
	seen := once{}
	for i, name := range names {
		if err := CheckName("policy", name); err != nil {
			faults.Addf(item(at, i), "%s", err)
		}
		seen.check(faults, item(at, i), name)
	}
}

// checkAction demands exactly one action and checks each that is there.
func (l *Location) checkAction(faults *Faults, at string) {
	var actions []string
	if l.Return != nil {
		actions = append(actions, "return")
		l.Return.check(faults, at+".return")
	}
	if l.Root != "" {
		actions = append(actions, "root")
		faults.add(at+".root", rootProblem(l.Root))
	}
	if l.Alias != "" {
		actions = append(actions, "alias")
		faults.add(at+".alias", l.aliasProblem())
	}
	if l.Proxy != nil {
		actions = append(actions, "proxy")
		l.Proxy.check(faults, at+".proxy")
		l.checkProxyPath(faults, at)
	}
	if l.Redirect != nil {
		actions = append(actions, "redirect")
		l.Redirect.check(faults, at+".redirect")
	}
	switch len(actions) {
	case 0:
		faults.Addf(at, "does nothing: set exactly one of return, root, alias, proxy and redirect")
	case 1:
	default:
		faults.Addf(at, "has %s: set exactly one of return, root, alias, proxy and redirect", strings.Join(actions, " and "))
	}
}

// locationPathProblem checks a path that is compared with the request's
// decoded and normalised path; what could never match is refused as well.
func locationPathProblem(p string) string {
	switch problem := wordProblem(p, nginxSyntax+"#?"); {
	case p == "":
		return "is missing: write a path such as / or /app/"
	case problem != "":
		return problem
	case p[0] != '/':
		return fmt.Sprintf("%q does not begin with /", clip(p))
	case len(p) > maxPath:
		return fmt.Sprintf("is %d bytes long: use at most %d", len(p), maxPath)
	case strings.Contains(p, "//"):
		return fmt.Sprintf("%q holds //, which nginx merges into / before it compares: it would never match", clip(p))
	case hasDots(p):
		return fmt.Sprintf("%q holds a segment . or .., which nginx resolves before it compares: it would never match", clip(p))
	}
	if decoded, err := url.PathUnescape(p); err == nil && decoded != p {
		return fmt.Sprintf("%q is percent-encoded: nginx compares the decoded path %q", clip(p), clip(decoded))
	}
	return ""
}

// hasDots reports whether a path has a segment "." or "..".
func hasDots(p string) bool {
	for s := range strings.SplitSeq(p, "/") {
		if s == "." || s == ".." {
			return true
		}
	}
	return false
}

func rootProblem(root string) string {
	switch problem := wordProblem(root, nginxSyntax); {
	case problem != "":
		return problem
	case root[0] != '/':
		return fmt.Sprintf("%q is not absolute: begin with /", clip(root))
	case hasDots(root):
		return fmt.Sprintf("%q holds a segment . or ..: write the directory itself", clip(root))
	case path.Clean(root) == "/":
		return "is the whole file system: name a directory below /"
	case len(root) > maxPath:
		return fmt.Sprintf("is %d bytes long: use at most %d", len(root), maxPath)
	}
	return ""
}

func indexProblem(name string) string {
	switch problem := wordProblem(name, nginxSyntax+"/#?"); {
	case problem != "":
		return problem
	case name == "" || name == "." || name == ".." || len(name) > 255:
		return fmt.Sprintf("%q is not a file name", clip(name))
	}
	return ""
}

func (r *Return) check(faults *Faults, at string) {
	if r.Code < 200 || r.Code > 599 {
		faults.Addf(at+".code", "%d is not a status that can be answered: use 200 to 599", r.Code)
	}
	faults.add(at+".text", textProblem(r))
	if problem := wordProblem(r.ContentType, "{}$'`\\"); problem != "" {
		faults.add(at+".contentType", problem)
	} else if r.ContentType != "" {
		mediaType, _, err := mime.ParseMediaType(r.ContentType)
		if err != nil || !strings.Contains(mediaType, "/") || len(r.ContentType) > 255 {
			faults.Addf(at+".contentType", "%q is not a media type: write one such as text/html; charset=utf-8", clip(r.ContentType))
		}
	}
}

// textProblem checks a fixed body. Unlike other values it may hold anything
// that nginx can quote: line ends, tabs, quotes and braces.
func textProblem(r *Return) string {
	size := len(r.Text) + strings.Count(r.Text, `"`) + strings.Count(r.Text, `\`)
	switch {
	case r.Text == "":
		return ""
	case r.Code == 301 || r.Code == 302 || r.Code == 303 || r.Code == 307 || r.Code == 308:
		return fmt.Sprintf("nginx takes the text of a %d for a URL: use redirect", r.Code)
	case r.Code == 204 || r.Code == 304 || r.Code == 444:
		return fmt.Sprintf("a %d has no body: leave the text out", r.Code)
	case !utf8.ValidString(r.Text):
		return "is not valid UTF-8"
	case strings.ContainsRune(r.Text, 0):
		return "holds a NUL byte: remove it"
	case size > maxText:
		return fmt.Sprintf("takes %d bytes in nginx, with quotes and backslashes counted twice: use at most %d, or serve a file with root", size, maxText)
	}
	return ""
}

func (r *Redirect) check(faults *Faults, at string) {
	switch r.Code {
	case 0, 301, 302, 303, 307, 308:
	default:
		faults.Addf(at+".code", "%d does not redirect: use 301, 302, 303, 307 or 308", r.Code)
	}
	problem := redirectProblem(r.To)
	if problem == "" && r.KeepPath && strings.ContainsAny(r.To, "?#") {
		problem = fmt.Sprintf("%q ends in a query or fragment, to which keepPath cannot append", clip(r.To))
	}
	faults.add(at+".to", problem)
}

func redirectProblem(to string) string {
	const allowed = "write a path such as /new or a URL such as https://www.example.org"
	if to == "" {
		return "is missing: " + allowed
	}
	if problem := wordProblem(to, " {}<>$\"'`\\"); problem != "" {
		return problem
	}
	u, err := url.Parse(to)
	switch {
	case len(to) > maxValue:
		return fmt.Sprintf("is %d bytes long: use at most %d", len(to), maxValue)
	case err != nil || u.Opaque != "" || u.User != nil:
		return fmt.Sprintf("%q is not a URL: %s", clip(to), allowed)
	case u.Scheme == "" && u.Host == "" && to[0] == '/':
		return ""
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Sprintf("%q is neither a path nor an http or https URL: %s", clip(to), allowed)
	}
	return ""
}
