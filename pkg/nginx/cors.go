package nginx

import (
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// corsHeaders are hidden in answers of upstreams: two of one are none to a browser.
var corsHeaders = []string{
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
	"Access-Control-Allow-Headers", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
}

func (s *site) corsOf(l *fleet.Location) *fleet.CORS {
	if l.CORS != nil {
		return l.CORS
	}
	return s.h.CORS
}

// cors is the headers of a location's answers, quoted. Each is a variable that
// is empty, and so not sent, unless the request's origin is one of those
// allowed: an origin is compared and never repeated.
func (s *site) cors(l *fleet.Location) map[string]string {
	c := s.corsOf(l)
	if c == nil {
		return nil
	}
	headers := map[string]string{}
	origin := s.variable("origin", c.Origins...)
	if s.once(origin) {
		s.http.open("map $http_origin $%s", origin)
		s.http.line(`default "";`)
		for _, o := range c.Origins {
			if o == "*" {
				s.http.line(`~. "*";`)
			} else {
				s.http.line("%s %s;", literal(o), literal(o))
			}
		}
		s.http.close()
	}
	headers["Access-Control-Allow-Origin"] = "$" + origin
	if !slices.Contains(c.Origins, "*") {
		headers["Vary"] = `"Origin"`
	}
	allowed := func(header, value string) {
		if value != "" {
			headers[header] = s.when(origin, "$"+origin, "~.", value)
		}
	}
	if c.Credentials {
		allowed("Access-Control-Allow-Credentials", "true")
	}
	allowed("Access-Control-Expose-Headers", strings.Join(c.ExposeHeaders, ", "))
	preflight := func(header, value string) {
		if value != "" {
			headers[header] = s.when(origin+"p", fmt.Sprintf(`"$fairlead_preflight$%s"`, origin), "~^1.", value)
		}
	}
	methods := c.Methods
	if len(methods) == 0 {
		methods = []string{"GET", "HEAD", "POST"}
	}
	preflight("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	preflight("Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	if c.MaxAge != "" {
		preflight("Access-Control-Max-Age", fmt.Sprint(int(duration(c.MaxAge).Seconds())))
	}
	return headers
}

// when is a variable that has a value where source matches, and is empty elsewhere.
func (s *site) when(key, source, matches, value string) string {
	variable := s.variable("cors", key, value)
	if s.once(variable) {
		s.http.line(`map %s $%s { default ""; %s %s; }`, source, variable, literal(matches), literal(value))
	}
	return "$" + variable
}

// preflight answers the question of a browser whether it may ask. Of all that
// an if can hold only a return is safe.
func (s *site) preflight(l *fleet.Location) {
	if s.corsOf(l) != nil {
		s.w.line("if ($fairlead_preflight) { return 204; }")
	}
}
