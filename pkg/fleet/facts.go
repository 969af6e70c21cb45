package fleet

import (
	"slices"
	"strconv"
	"time"
)

// Facts is what a node says of itself: its host, and what its nginx can do. A
// station believes a node no more than that: every text is bounded and
// checked where it is used.
type Facts struct {
	Hostname string `json:"hostname,omitempty"`
	OS       string `json:"os,omitempty"`   // "debian-12"
	Arch     string `json:"arch,omitempty"` // "amd64"
	CPUs     int    `json:"cpus,omitempty"` // that the agent may use
	// Nginx is nginx's version, "1.22.1"; "" on a node without nginx.
	Nginx string `json:"nginx,omitempty"`
	// Features are what nginx was built with and what lies beside it, sorted: "http_ssl", "http_v2", "stream", …
	Features []string `json:"features,omitempty"`
	// Modules are the dynamic modules in nginx's module directory, sorted: "ngx_stream_module".
	Modules []string `json:"modules,omitempty"`
	// Curve is the public curve key (xkey) that secrets for the node are sealed to; "" on a node without nginx.
	Curve string `json:"curve,omitempty"`
	// Link is the class of the node's link, one of Links; "" is one that an older agent does not tell.
	Link string `json:"link,omitempty"`
	// HeartbeatSeconds is the longest time between two heartbeats; 0 is an agent that sends none.
	HeartbeatSeconds float64 `json:"heartbeatSeconds,omitempty"`
	// JWTUntil is when the broker takes the node's JWT no more; zero is never.
	JWTUntil time.Time `json:"jwtUntil,omitzero"`
}

// Has reports whether nginx has a feature, built in or as a dynamic module of
// that name.
func (f *Facts) Has(feature string) bool {
	return slices.Contains(f.Features, feature) || slices.Contains(f.Modules, "ngx_"+feature+"_module")
}

// facts are those that a variable can name.
var facts = map[string]func(*Facts) string{
	"hostname": func(f *Facts) string { return f.Hostname },
	"os":       func(f *Facts) string { return f.OS },
	"arch":     func(f *Facts) string { return f.Arch },
	"cpus":     func(f *Facts) string { return strconv.Itoa(f.CPUs) },
	"nginx":    func(f *Facts) string { return f.Nginx },
}
