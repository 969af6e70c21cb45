package nginx

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// splitVariable holds, for each request, the name of the upstream that a split
// chose for it.
func splitVariable(name string) string { return splitPart(name, "") }

// splitPart is the variable of a part of a split. The part stands before the
// name, or that of a split called shop_drawn could be that of a part of shop.
func splitPart(name, part string) string { return variableOf("split"+part, name) }

// variableOf is the variable that holds what of the resource called name. A
// name with a hyphen, which variables cannot have, has a hash before it, so
// that a-b and a_b are two.
func variableOf(what, name string) string {
	if strings.Contains(name, "-") {
		what += hash8(name)
	}
	return "$fairlead_" + what + "_" + word(name)
}

// splitHeaders are the directives that a location with a split needs beside
// proxy_pass: the cookie that keeps a visitor on a branch. They hide the
// headers of the server, as any add_header does.
func (m *model) splitHeaders(name string) []string {
	if s, ok := m.find("Split/" + name).(*fleet.Split); ok && byCookie(s) {
		return []string{fmt.Sprintf("add_header Set-Cookie %s always;", splitPart(name, "cookie"))}
	}
	return nil
}

func byCookie(s *fleet.Split) bool { return s.Sticky != nil && s.Sticky.By == "cookie" }

// split renders how a request's upstream is chosen: by a rule that matches,
// else by the branch that the visitor's cookie names, else by a draw.
func split(r fleet.Resource, s *fleet.Split) string {
	w, name := new(writer), r.Metadata.Name
	w.line("# %s", r.ID())
	branch := splitVariable(name)
	if len(s.When) > 0 {
		branch = splitPart(name, "branch")
	}
	if byCookie(s) {
		w.draw(splitPart(name, "drawn"), name, s, branchID)
		w.stay(name, branch, s)
	} else {
		w.draw(branch, name, s, func(upstream string) string { return upstream })
	}
	if len(s.When) > 0 {
		w.rules(name, branch, s.When)
	}
	if byCookie(s) {
		w.cookie(name, s)
	}
	return w.String()
}

// branchID stands for a branch in a visitor's cookie, and is short enough for
// the key of any map.
func branchID(upstream string) string { return hash8(upstream) }

// draw chooses by chance, or by the visitor's address. The split's name is
// part of the key, so that two splits do not choose the same visitors.
func (w *writer) draw(variable, name string, s *fleet.Split, value func(upstream string) string) {
	key := "$request_id"
	if s.Sticky != nil && s.Sticky.By == "client" {
		key = "$remote_addr"
	}
	w.open(`split_clients "%s %s" %s`, key, name, variable)
	rest := restOf(s.Branches)
	for i, b := range s.Branches {
		if i != rest && *b.Percent > 0 {
			w.line("%d%% %s;", *b.Percent, value(b.Upstream))
		}
	}
	w.line("* %s;", value(s.Branches[rest].Upstream))
	w.close()
}

// restOf is the branch without a share, else the last that has some.
func restOf(branches []fleet.Branch) int {
	rest := 0
	for i, b := range branches {
		if b.Percent == nil {
			return i
		}
		if *b.Percent > 0 {
			rest = i
		}
	}
	return rest
}

// stay takes the branch of the cookie, if there still is such a branch, else
// the one that was drawn.
func (w *writer) stay(name, branch string, s *fleet.Split) {
	kept := splitPart(name, "kept")
	w.open("map $cookie_%s %s", cookieName(s), kept)
	w.line("default %s;", splitPart(name, "drawn"))
	for _, b := range s.Branches {
		w.line("%[1]s %[1]s;", branchID(b.Upstream))
	}
	w.close()
	w.open("map %s %s", kept, branch)
	for _, b := range s.Branches {
		w.line("%s %s;", branchID(b.Upstream), b.Upstream)
	}
	w.close()
}

// rules asks them from the first to the last: each is a map whose default is
// the next one's variable. Where none matches the branch holds.
func (w *writer) rules(name, branch string, when []fleet.SplitRule) {
	for i, rule := range when {
		from := requestVariable("header:" + rule.Header)
		if rule.Cookie != "" {
			from = requestVariable("cookie:" + rule.Cookie)
		}
		next := `""`
		if i+1 < len(when) {
			next = whenPart(name, i+1)
		}
		w.open("map %s %s", from, whenPart(name, i))
		w.line("default %s;", next)
		w.line("%s %s;", literal("~^"+regexp.QuoteMeta(rule.Value)+"$"), rule.Upstream) // an expression, or case would not count
		w.close()
	}
	w.open("map %s %s", whenPart(name, 0), splitVariable(name))
	w.line("default %s;", whenPart(name, 0))
	w.line(`"" %s;`, branch)
	w.close()
}

// whenPart is what the rules from the i-th on say.
func whenPart(name string, i int) string { return splitPart(name, fmt.Sprintf("when%d", i)) }

// cookie is set when the branch was drawn: not by a rule, and not where the
// visitor has the cookie already. An empty value sets nothing.
func (w *writer) cookie(name string, s *fleet.Split) {
	secure := splitPart(name, "secure")
	w.open("map $https %s", secure)
	w.line(`default "";`)
	w.line(`on "; Secure";`)
	w.close()
	rule := ""
	if len(s.When) > 0 {
		rule = inText(whenPart(name, 0))
	}
	age, _ := time.ParseDuration(cmp.Or(s.Sticky.For, "24h")) // validated
	w.open(`map "%s:$cookie_%s" %s`, rule, cookieName(s), splitPart(name, "cookie"))
	w.line(`default "%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s";`, cookieName(s), inText(splitPart(name, "drawn")), int(age.Seconds()), inText(secure))
	for _, b := range s.Branches {
		w.line(`":%s" "";`, branchID(b.Upstream))
	}
	w.line(`"~^[^:]" "";`)
	w.close()
}

// inText is a variable where more text follows.
func inText(variable string) string { return "${" + variable[1:] + "}" }

func cookieName(s *fleet.Split) string { return cmp.Or(s.Sticky.Cookie, "fairlead_split") }
