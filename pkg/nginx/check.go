package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

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
	case *fleet.Policy:
		checkPolicy(s, &faults)
	case *fleet.Split:
		checkSplit(s, &faults)
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
