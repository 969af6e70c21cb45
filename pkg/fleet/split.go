package fleet

import (
	"fmt"
	"strings"
	"time"
)

// Split sends a part of the requests to each of several upstreams: A/B tests
// and canaries. A location uses it as `proxy: {split: NAME}`.
type Split struct {
	// Branches are the upstreams and their shares, at most 50. The one without a share takes the rest. Write the one that
	// is to grow first: visitors of a branch then stay on it while its share grows.
	Branches []Branch `json:"branches"`
	// When sends requests with a certain header or cookie to a branch, whatever the shares say; the first that matches counts.
	When []SplitRule `json:"when,omitempty"`
	// Sticky keeps a visitor on the branch that was drawn; without it each request is drawn by itself.
	Sticky *Sticky `json:"sticky,omitempty"`
}

// Branch is an upstream and its share.
type Branch struct {
	Upstream string `json:"upstream"` // name of the resource
	// Percent is the share, 0 to 100; all together are 100. 0 draws no new visitor, and with a sticky cookie keeps those
	// it has.
	Percent *int `json:"percent,omitempty"`
}

// SplitRule sends requests with a certain header or cookie to an upstream.
type SplitRule struct {
	Header string `json:"header,omitempty"` // name of a request header
	Cookie string `json:"cookie,omitempty"` // or of a cookie
	// Value is the exact value; letters, digits and `._~:/@+=-`.
	Value    string `json:"value"`
	Upstream string `json:"upstream"` // name of the resource, of a branch or another
}

// Sticky keeps a visitor on a branch: by address or by a cookie.
type Sticky struct {
	// By is client, the visitor's address; or cookie, which nginx sets, and which also holds when shares change.
	By     string `json:"by"`
	Cookie string `json:"cookie,omitempty"` // name of the cookie, fairlead_split when empty
	For    string `json:"for,omitempty"`    // how long the cookie holds, "24h" when empty; at most 8760h
}

// Kind is "Split".
func (*Split) Kind() string { return "Split" }

const (
	maxBranches = 50
	maxWhen     = 50
)

// Validate returns every fault of the split; paths begin at "spec".
func (s *Split) Validate() Faults {
	var faults Faults
	s.checkBranches(&faults)
	if len(s.When) > maxWhen {
		faults.Addf("spec.when", "holds %d rules: use at most %d", len(s.When), maxWhen)
	}
	seen := once{}
	for i, w := range s.When {
		path := item("spec.when", i)
		w.check(&faults, path)
		seen.check(&faults, path, strings.ToLower(w.Header)+" "+w.Cookie+" "+w.Value)
	}
	if s.Sticky != nil {
		s.Sticky.check(&faults, "spec.sticky")
	}
	return faults
}

func (s *Split) checkBranches(faults *Faults) {
	switch {
	case len(s.Branches) == 0:
		faults.Addf("spec.branches", "is missing: name at least one, for example [{upstream: new, percent: 5}, {upstream: old}]")
	case len(s.Branches) > maxBranches:
		faults.Addf("spec.branches", "holds %d branches: use at most %d", len(s.Branches), maxBranches)
	}
	seen, sum, rest := once{}, 0, 0
	for i, b := range s.Branches {
		path := item("spec.branches", i)
		faults.add(path+".upstream", upstreamProblem(b.Upstream))
		seen.check(faults, path, b.Upstream)
		switch {
		case b.Percent == nil:
			if rest++; rest > 1 {
				faults.Addf(path+".percent", "is missing: only one branch may take the rest")
			}
		case *b.Percent < 0 || *b.Percent > 100:
			faults.Addf(path+".percent", "%d: use 0 to 100", *b.Percent)
		default:
			sum += *b.Percent
		}
	}
	if len(s.Branches) > 0 && (sum > 100 || sum != 100 && rest == 0) {
		faults.Addf("spec.branches", "have %d percent together: make them 100, or leave one percent out, which then is the rest", sum)
	}
}

func (w SplitRule) check(faults *Faults, at string) {
	switch {
	case (w.Header == "") == (w.Cookie == ""):
		faults.Addf(at, "needs either a header or a cookie")
	case w.Header != "":
		faults.add(at+".header", VariableHeaderProblem(w.Header))
	default:
		faults.add(at+".cookie", CookieNameProblem(w.Cookie))
	}
	if !splitValue.MatchString(w.Value) {
		faults.Addf(at+".value", "%s: write 1 to 200 letters, digits and ._~:/@+=-", shown(w.Value))
	}
	faults.add(at+".upstream", upstreamProblem(w.Upstream))
}

var splitValue = NewPattern(`^[A-Za-z0-9._~:/@+=-]{1,200}$`)

func (s *Sticky) check(faults *Faults, at string) {
	oneOf(faults, at+".by", s.By, "client", "cookie")
	if s.By == "client" && s.Cookie+s.For != "" {
		faults.Addf(at, "by client has no cookie: leave cookie and for out, or use by: cookie")
	}
	if s.Cookie != "" {
		faults.add(at+".cookie", CookieNameProblem(s.Cookie))
	}
	if s.For != "" {
		faults.add(at+".for", DurationProblem(s.For, time.Minute, 8760*time.Hour))
	}
}

func upstreamProblem(name string) string {
	if err := CheckName("upstream", name); err != nil {
		return fmt.Sprint(err)
	}
	return ""
}

// Needs are the upstreams of all branches and rules.
func (s *Split) Needs() []Need {
	var needs []Need
	for i, b := range s.Branches {
		needs = append(needs, Need{"Upstream", b.Upstream, item("spec.branches", i) + ".upstream"})
	}
	for i, w := range s.When {
		needs = append(needs, Need{"Upstream", w.Upstream, item("spec.when", i) + ".upstream"})
	}
	return needs
}
