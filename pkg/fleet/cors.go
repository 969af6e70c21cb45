package fleet

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// CORS lets pages of other origins use the answers (the Fetch standard's
// cross-origin resource sharing). nginx answers the preflight itself, before
// any password is asked for, and hides what the upstream says of it.
type CORS struct {
	// Origins are exact, as https://shop.example.org, or `*` alone for every origin.
	Origins []string `json:"origins"`
	// Methods beside GET, HEAD and POST need to be named; when it is empty these three.
	Methods []string `json:"methods,omitempty"`
	// Headers are those that a page may send beside the harmless ones.
	Headers []string `json:"headers,omitempty"`
	// ExposeHeaders are those of an answer that a page may read beside the harmless ones.
	ExposeHeaders []string `json:"exposeHeaders,omitempty"`
	Credentials   bool     `json:"credentials,omitempty"` // cookies and passwords are sent; not with `*`
	MaxAge        string   `json:"maxAge,omitempty"`      // how long a preflight holds, at most 24h
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func (c *CORS) check(faults *Faults, at string) {
	if c == nil {
		return
	}
	if len(c.Origins) == 0 {
		faults.Addf(at+".origins", "is missing: name at least one, as in https://shop.example.org, or * for every one")
	}
	atMost(faults, at+".origins", len(c.Origins), maxItems)
	seen := once{}
	for i, origin := range c.Origins {
		path := item(at+".origins", i)
		switch {
		case origin != "*":
			faults.add(path, originProblem(origin))
		case len(c.Origins) > 1:
			faults.Addf(path, "* stands alone")
		case c.Credentials:
			faults.Addf(at+".credentials", "does not go with origin *, or any page could act as the visitor: name the origins")
		}
		seen.check(faults, path, strings.ToLower(origin))
	}
	for i, m := range c.Methods {
		oneOf(faults, item(at+".methods", i), m, methods...)
	}
	for _, list := range []struct {
		path  string
		names []string
	}{{at + ".headers", c.Headers}, {at + ".exposeHeaders", c.ExposeHeaders}} {
		atMost(faults, list.path, len(list.names), maxItems)
		for i, name := range list.names {
			faults.add(item(list.path, i), VariableHeaderProblem(name))
		}
	}
	checkDuration(faults, at+".maxAge", c.MaxAge, 0, 24*time.Hour)
}

// originProblem checks an origin as browsers send it (RFC 6454, section 6.2):
// scheme, host and port, without a path, in lower case, without the default port.
func originProblem(origin string) string {
	const allowed = "write it as browsers do, as in https://shop.example.org or http://localhost:3000"
	u, err := url.Parse(origin)
	if err != nil || len(origin) > 300 || origin != strings.ToLower(origin) || !slices.Contains([]string{"http", "https"}, u.Scheme) ||
		u.Host == "" || u.Scheme+"://"+u.Host != origin || u.User != nil {
		return fmt.Sprintf("%q is not an origin: %s", clip(origin), allowed)
	}
	host := strings.Trim(u.Hostname(), "[]")
	if addressProblem(host) != "" && !isHost(host) || u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] || strings.HasSuffix(u.Host, ":") {
		return fmt.Sprintf("%q is not an origin: %s", clip(origin), allowed)
	}
	return ""
}
