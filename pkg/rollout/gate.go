package rollout

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"fairlead/pkg/fleet"
)

// What a gate asks.
const (
	GateHealth     = "health"     // a field of the nodes' health reports
	GateErrors     = "5xx"        // the share of answers with a status of 500 or more
	GatePrometheus = "prometheus" // an instant query
	GateProgram    = "program"    // a program on the station
	GateApproval   = "approval"   // a person, after each wave but the last
)

// Gate is something that must hold before the next wave.
type Gate struct {
	Kind  string
	What  string // field, address with query, or name of the program
	Op    string // "<", "<=", ">", ">=", "==" or "!="
	Value float64
	text  string
}

var (
	comparison = regexp.MustCompile(`^(<=|>=|==|!=|<|>)\s*([-+.0-9eE]+)(%?)$`)
	fieldPath  = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)
	program    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// ParseGate reads a gate as people write it:
//
//	approval
//	health:nginx.counters.active<1000
//	5xx<1%
//	prometheus:http://host:9090?query=sum(rate(errors[1m]))<5
//	program:NAME
func ParseGate(text string) (g Gate, err error) {
	g.text = text
	kind, what, _ := strings.Cut(text, ":")
	switch {
	case text == GateApproval:
		g.Kind = GateApproval
		return g, nil
	case kind == GateProgram:
		g.Kind, g.What = kind, what
		if !program.MatchString(what) {
			return g, wrongGate(text, "name a program in the station's directory of gates: letters, digits, -, _ and dots")
		}
		return g, nil
	case strings.HasPrefix(text, GateErrors):
		g.Kind, what = GateErrors, text
	case kind == GateHealth, kind == GatePrometheus:
		g.Kind = kind
	default:
		return g, wrongGate(text, "use approval, health:FIELD<N, 5xx<N%, prometheus:URL?query=…<N or program:NAME")
	}
	if err := g.compare(what); err != nil {
		return g, err
	}
	switch g.Kind {
	case GateErrors:
		if g.What != GateErrors {
			return g, wrongGate(text, "use 5xx<1%")
		}
		g.What = ""
	case GateHealth:
		if !fieldPath.MatchString(g.What) {
			return g, wrongGate(text, "name a field of the health report, such as nginx.counters.active")
		}
	case GatePrometheus:
		_, _, err = g.Query()
	}
	return g, err
}

// compare splits at the last comparison: a query may hold others.
func (g *Gate) compare(text string) error {
	at := strings.LastIndexAny(text, "<>=!")
	if at > 0 && strings.ContainsRune("<>=!", rune(text[at-1])) {
		at--
	}
	if at > 0 {
		m := comparison.FindStringSubmatch(text[at:])
		if m != nil && (m[3] == "%") == (g.Kind == GateErrors) {
			value, err := strconv.ParseFloat(m[2], 64)
			if err == nil {
				g.What, g.Op, g.Value = strings.TrimSpace(text[:at]), m[1], value
				return nil
			}
		}
	}
	return wrongGate(g.text, "it ends with a comparison with a number, such as <5, which for 5xx is a percentage, such as <1%")
}

// Query is the address of a Prometheus and what to ask it.
func (g Gate) Query() (base, query string, err error) {
	// Not as a query of a URL: people write PromQL, with +, ; and %, as it is.
	base, query, found := strings.Cut(g.What, "?query=")
	u, err := url.Parse(base)
	if err != nil || !found || query == "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", wrongGate(g.text, "use prometheus:http://host:9090?query=QUERY<N")
	}
	return strings.TrimSuffix(base, "/"), query, nil
}

// Holds compares a value.
func (g Gate) Holds(v float64) bool {
	switch g.Op {
	case "<":
		return v < g.Value
	case "<=":
		return v <= g.Value
	case ">":
		return v > g.Value
	case ">=":
		return v >= g.Value
	case "==":
		return v == g.Value
	case "!=":
		return v != g.Value
	}
	return false
}

// String is the gate as it was written.
func (g Gate) String() string { return g.text }

func wrongGate(text, what string) error {
	return fleet.Errorf(fleet.Invalid, "%q: %s", text, what)
}

// What a gate says. Unknown is never good.
const (
	Passes  = "passes"
	Refuses = "refuses"
	Unknown = "unknown"
)

// Reading is what a gate said when it was asked last.
type Reading struct {
	Gate   string `json:"gate"`
	Says   string `json:"says"`
	Reason string `json:"reason,omitempty"`
}
