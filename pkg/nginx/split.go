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
// chose for it. A name with a hyphen, which variables cannot have, ends in a
// hash, so that a-b and a_b are two.
func splitVariable(name string) string {
	variable := "$fairlead_split_" + word(name)
	if strings.Contains(name, "-") {
		variable += "_" + hash8(name)
	}
	return variable
}

// splitHeaders are the directives that a location with a split needs beside
// proxy_pass: the cookie that keeps a visitor on a branch. They hide the
// headers of the server, as any add_header does.
func (m *model) splitHeaders(name string) []string {
	if s, ok := m.find("Split/" + name).(*fleet.Split); ok && byCookie(s) {
		return []string{fmt.Sprintf("add_header Set-Cookie %s_cookie always;", splitVariable(name))}
	}
	return nil
}

func byCookie(s *fleet.Split) bool { return s.Sticky != nil && s.Sticky.By == "cookie" }

// split renders how a request's upstream is chosen: by a rule that matches,
// else by the branch that the visitor's cookie names, else by a draw.
func split(r fleet.Resource, s *fleet.Split) string {
	w, name := new(writer), splitVariable(r.Metadata.Name)
	w.line("# %s", r.ID())
	branch := name
	if len(s.When) > 0 {
		branch = name + "_branch"
	}
	if byCookie(s) {
		w.draw(name+"_drawn", r.Metadata.Name, s, branchID)
		w.stay(name, branch, s)
	} else {
		w.draw(branch, r.Metadata.Name, s, func(upstream string) string { return upstream })
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
	w.open("map $cookie_%s %s_kept", cookieName(s), name)
	w.line("default %s_drawn;", name)
	for _, b := range s.Branches {
		w.line("%[1]s %[1]s;", branchID(b.Upstream))
	}
	w.close()
	w.open("map %s_kept %s", name, branch)
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
			next = fmt.Sprintf("%s_when%d", name, i+1)
		}
		w.open("map %s %s_when%d", from, name, i)
		w.line("default %s;", next)
		w.line("%s %s;", literal("~^"+regexp.QuoteMeta(rule.Value)+"$"), rule.Upstream) // an expression, or case would not count
		w.close()
	}
	w.open("map %[1]s_when0 %[1]s", name)
	w.line("default %s_when0;", name)
	w.line(`"" %s;`, branch)
	w.close()
}

// cookie is set when the branch was drawn: not by a rule, and not where the
// visitor has the cookie already. An empty value sets nothing.
func (w *writer) cookie(name string, s *fleet.Split) {
	w.open("map $https %s_secure", name)
	w.line(`default "";`)
	w.line(`on "; Secure";`)
	w.close()
	rule, inside := "", name[1:]
	if len(s.When) > 0 {
		rule = "${" + inside + "_when0}"
	}
	age, _ := time.ParseDuration(cmp.Or(s.Sticky.For, "24h")) // validated
	w.open(`map "%s:$cookie_%s" %s_cookie`, rule, cookieName(s), name)
	w.line(`default "%s=${%s_drawn}; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax${%s_secure}";`, cookieName(s), inside, int(age.Seconds()), inside)
	for _, b := range s.Branches {
		w.line(`":%s" "";`, branchID(b.Upstream))
	}
	w.line(`"~^[^:]" "";`)
	w.close()
}

func cookieName(s *fleet.Split) string { return cmp.Or(s.Sticky.Cookie, "fairlead_split") }
