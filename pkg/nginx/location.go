package nginx

import (
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

var modifiers = map[string]string{"": "", "prefix": "", "exact": "= ", "regex": "~ "}

// location renders one location, and the one that answers behind it.
func (s *site) location(i int, l *fleet.Location) {
	w := &s.w
	w.open("location %s%s", modifiers[l.Match], literal(l.Path))
	headers := s.locationHeaders(l)
	s.preflight(l)
	s.addAll(l, headers)
	s.guards(l)
	limits(w, l.Limits)
	gzip(w, l.Gzip)
	s.log(l.Log)
	later := s.locationErrors(i, l, headers)
	rewrites(w, l.Rewrites)
	answers := l.Return != nil || l.Redirect != nil
	if answers && s.guarded(l) {
		// nginx answers a return before it looks at who asks. No file lies below a device, so this asks first.
		w.line("root /dev/null;")
		w.line("try_files /none @fairlead_answer_%d;", i)
		w.close()
		w.line("")
		w.open("location @fairlead_answer_%d", i)
		s.addAll(l, headers)
		s.guards(l)
		gzip(w, l.Gzip)
		s.log(l.Log)
		s.locationErrors(i, l, headers) // their texts stand once
	}
	switch {
	case l.Return != nil:
		returnText(w, l.Return)
	case l.Redirect != nil:
		redirect(w, l.Redirect)
	case l.Root != "":
		files(w, "root", l.Root, l.Index)
		if len(l.TryFiles) > 0 {
			w.line("try_files %s;", strings.Join(l.TryFiles, " "))
		}
	case l.Alias != "":
		files(w, "alias", l.Alias, l.Index)
	case l.Proxy != nil:
		s.proxy(l)
	}
	w.close()
	later()
}

// locationHeaders are those that a location adds to its host's, quoted; none
// where it adds none.
func (s *site) locationHeaders(l *fleet.Location) map[string]string {
	own := merged(quoted(l.Headers), s.cors(l))
	if l.Cache != nil && l.Cache.StatusHeader {
		own["X-Cache"] = "$upstream_cache_status"
	}
	return own
}

// addAll adds a location's headers; one add_header in a location hides all of
// the server's.
func (s *site) addAll(l *fleet.Location, own map[string]string) {
	var split []string
	if l.Proxy != nil && l.Proxy.Split != "" {
		split = s.m.splitHeaders(l.Proxy.Split)
	}
	if len(own)+len(split) > 0 {
		addHeaders(&s.w, merged(s.headers(), own))
		s.lines(split)
	}
}

func files(w *writer, directive, dir string, index []string) {
	w.line("%s %s;", directive, literal(dir))
	if len(index) == 0 {
		index = []string{"index.html"}
	}
	quoted := make([]string, len(index))
	for i, name := range index {
		quoted[i] = literal(name)
	}
	w.line("index %s;", strings.Join(quoted, " "))
}

// returnText sends a text. The empty types block keeps nginx from taking the
// content type from the path's extension. A text that does not fit into one
// parameter is put together from variables.
func returnText(w *writer, r *fleet.Return) {
	kind := r.ContentType
	if kind == "" {
		kind = "text/plain"
	}
	w.line("types { }")
	w.line("default_type %s;", literal(kind))
	all := pieces(r.Text)
	switch {
	case r.Text == "":
		w.line("return %d;", r.Code)
	case len(all) == 1:
		w.line("return %d %s;", r.Code, served(r.Text))
	default:
		var together strings.Builder
		for i, piece := range all {
			w.line("set $fairlead_text%d %s;", i, served(piece))
			fmt.Fprintf(&together, "${fairlead_text%d}", i)
		}
		w.line(`return %d "%s";`, r.Code, together.String())
	}
}

// redirect sends the client elsewhere; to a path without naming scheme, host
// and port, which nginx cannot know behind a forwarded port.
func redirect(w *writer, r *fleet.Redirect) {
	code, to := r.Code, r.To
	if code == 0 {
		code = 302
	}
	if strings.HasPrefix(to, "/") {
		w.line("absolute_redirect off;")
	}
	if r.KeepPath {
		w.line(`return %d "%s$request_uri";`, code, strings.TrimSuffix(to, "/"))
		return
	}
	w.line("return %d %s;", code, literal(to))
}

func rewrites(w *writer, all []fleet.Rewrite) {
	for _, r := range all {
		flag := "last"
		if r.Flag == "break" {
			flag = "break"
		}
		w.line("rewrite %s %s %s;", literal(r.Match), literal(r.To), flag)
	}
}

// errorPages stand in for nginx's own. Those with a text are served by a
// location each, which the function that is returned renders behind the block
// that is open; it adds headers where they differ from the host's.
func (s *site) errorPages(owner string, pages []fleet.ErrorPage, l *fleet.Location, headers map[string]string) (later func()) {
	var texts []func()
	for i, p := range pages {
		codes := fmt.Sprint(p.Codes)
		codes = codes[1 : len(codes)-1]
		if p.Path != "" {
			s.w.line("error_page %s %s;", codes, literal(p.Path))
			continue
		}
		name := fmt.Sprintf("@fairlead_error_%s_%d", owner, i)
		s.w.line("error_page %s %s;", codes, name)
		texts = append(texts, func() {
			s.w.line("")
			s.w.open("location %s", name)
			if l != nil {
				s.addAll(l, headers)
				gzip(&s.w, l.Gzip)
				s.log(l.Log)
			}
			returnText(&s.w, &fleet.Return{Code: p.Codes[0], Text: p.Text, ContentType: p.ContentType})
			s.w.close()
		})
	}
	return func() {
		for _, text := range texts {
			text()
		}
	}
}

// locationErrors writes a location's pages and its host's where the pages,
// or what is sent and logged with them, are the location's own.
func (s *site) locationErrors(i int, l *fleet.Location, headers map[string]string) (later func()) {
	differs := len(headers) > 0 || l.Gzip != nil || l.Log != nil
	if len(l.ErrorPages) == 0 && (len(s.h.ErrorPages) == 0 || !differs) {
		return func() {}
	}
	pages, taken := slices.Clone(l.ErrorPages), map[int]bool{}
	for _, p := range pages {
		for _, code := range p.Codes {
			taken[code] = true
		}
	}
	for _, p := range s.h.ErrorPages {
		p.Codes = slices.DeleteFunc(slices.Clone(p.Codes), func(code int) bool { return taken[code] })
		if len(p.Codes) > 0 {
			pages = append(pages, p)
		}
	}
	return s.errorPages(fmt.Sprint(i), pages, l, headers)
}
