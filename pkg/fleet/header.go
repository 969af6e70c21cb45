package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkHeaders adds the faults of a map of header names to values. The path
// of a header is the map's, a dot and the name.
func checkHeaders(faults *Faults, at string, headers map[string]string) {
	seen := once{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		path := at + "." + clip(name)
		faults.add(path, headerNameProblem(name))
		faults.add(path, headerValueProblem(headers[name]))
		seen.check(faults, path, strings.ToLower(name))
	}
}

// headerNameProblem checks a token of RFC 9110, section 5.6.2, which is that of RFC 7230.
func headerNameProblem(name string) string {
	const allowed = "use letters, digits and '-', as in Cache-Control"
	if name == "" || len(name) > 255 {
		return "a header name has 1 to 255 characters: " + allowed
	}
	for _, c := range name {
		// RFC 9110 allows these as well, but `$`, `'` and "`" mean something to nginx or to shells.
		if !isAlnum(c) && !strings.ContainsRune("!#%&*+-.^_|~", c) {
			return fmt.Sprintf("header name %q holds %q: %s", clip(name), c, allowed)
		}
	}
	return ""
}

// headerValueProblem keeps a value on one line and free of nginx's variables.
// Quotes and backslashes are fine: the renderer writes them as nginx wants.
func headerValueProblem(value string) string {
	switch problem := wordProblem(strings.ReplaceAll(value, "\t", " "), "$"); {
	case problem != "":
		return "header value " + problem
	case value == "":
		return "header value is empty: nginx would not send it"
	case len(value) > maxValue:
		return fmt.Sprintf("header value is %d bytes long: use at most %d", len(value), maxValue)
	}
	return ""
}
