package nginx_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// variablesOf are the maps and draws of all files in http, by the variable
// that they make. None may be made twice.
func variablesOf(t *testing.T, b nginx.Bundle) map[string]block {
	t.Helper()
	all := map[string]block{}
	for _, f := range b.Files {
		if !strings.HasPrefix(f.Path, "http.d/split-") {
			continue
		}
		for _, is := range blocksOf(t, b, f.Path) {
			if len(is.words) != 3 || is.words[0] != "map" && is.words[0] != "split_clients" {
				t.Fatalf("%s has the block %q", f.Path, is.words)
			}
			if _, twice := all[is.words[2]]; twice {
				t.Errorf("%s is made twice, the second time in %s", is.words[2], f.Path)
			}
			all[is.words[2]] = is
		}
	}
	return all
}

// compareSplit asks the rendered variables as nginx would, for each visitor
// that the split tells apart.
func compareSplit(t *testing.T, name string, s *fleet.Split, all []fleet.Resource, variables map[string]block) {
	t.Helper()
	cookie, cookieName := "", ""
	if s.Sticky != nil && s.Sticky.By == "cookie" {
		cookieName = orElse(s.Sticky.Cookie, "fairlead_split")
		cookie = "$cookie_" + cookieName
	}
	lines, err := nginx.SplitLines("127.0.0.1", all, name)
	if err != nil || len(lines) != 1+len(some(cookie != "", "")) {
		t.Fatalf("%q, %v", lines, err)
	}
	variable := strings.TrimSuffix(strings.TrimPrefix(lines[len(lines)-1], "proxy_pass http://"), ";")
	key := map[bool]string{true: "$remote_addr", false: "$request_id"}[s.Sticky != nil && s.Sticky.By == "client"]
	v := visitor{t: t, variables: variables, name: name, key: key + " " + name}

	// Without anything a visitor goes where the draw says: each percent once.
	got := map[string]int{}
	for percent := range 100 {
		v.set, v.draw = map[string]string{}, percent
		got[v.value(variable)]++
	}
	want := map[string]int{}
	rest := 100
	for _, branch := range s.Branches {
		if branch.Percent != nil && *branch.Percent > 0 {
			want[branch.Upstream] = *branch.Percent
			rest -= *branch.Percent
		}
	}
	for _, branch := range s.Branches {
		if branch.Percent == nil && rest > 0 {
			want[branch.Upstream] = rest
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("split %s sends %v, want %v", name, got, want)
	}
	drawn := v.value(variable) // of the last draw

	// A visitor who is drawn gets a cookie, which keeps everybody on a branch,
	// also on one that draws nobody any more.
	if cookie != "" {
		gets := strings.TrimSuffix(strings.TrimPrefix(lines[0], "add_header Set-Cookie "), " always;")
		age := "86400"
		if s.Sticky.For != "" {
			d, err := time.ParseDuration(s.Sticky.For)
			if err != nil {
				t.Fatal(err)
			}
			age = fmt.Sprint(int(d.Seconds()))
		}
		id, rest, _ := strings.Cut(strings.TrimPrefix(v.value(gets), cookieName+"="), "; ")
		if rest != "Path=/; Max-Age="+age+"; HttpOnly; SameSite=Lax" {
			t.Errorf("split %s gives the cookie %q", name, v.value(gets))
		}
		v.set = map[string]string{cookie: id, "$https": "on"}
		if got := v.value(variable); got != drawn || v.value(gets) != "" {
			t.Errorf("split %s sends who was drawn for %s to %s, with another cookie %q", name, drawn, got, v.value(gets))
		}
		for _, branch := range s.Branches {
			v.set = map[string]string{cookie: v.cookieOf(variable, cookie, branch.Upstream)}
			if got := v.value(variable); got != branch.Upstream {
				t.Errorf("split %s sends a visitor of %s to %s", name, branch.Upstream, got)
			}
		}
		v.set = map[string]string{cookie: "forged", "$https": "on"}
		if got := v.value(variable); got != drawn || v.value(gets) != cookieName+"="+id+"; "+rest+"; Secure" {
			t.Errorf("split %s sends a forged cookie to %s, drawn is %s; it gets %q", name, got, drawn, v.value(gets))
		}
	}

	// Of the rules the first that matches counts, whatever the cookie says.
	for _, rule := range s.When {
		from := "$cookie_" + rule.Cookie
		if rule.Header != "" {
			from = "$http_" + strings.ToLower(strings.ReplaceAll(rule.Header, "-", "_"))
		}
		for value, matches := range map[string]bool{rule.Value: true, rule.Value + "x": false, strings.ToUpper(rule.Value) + "Y": false} {
			v.set = map[string]string{from: value}
			want := drawn
			if from == cookie { // which then is no sticky one
				want = ""
			}
			if matches {
				first := slices.IndexFunc(s.When, func(w fleet.SplitRule) bool {
					return w.Value == value && (w.Cookie != "" && "$cookie_"+w.Cookie == from || w.Header != "" && "$http_"+strings.ToLower(strings.ReplaceAll(w.Header, "-", "_")) == from)
				})
				want = s.When[first].Upstream
			}
			if got := v.value(variable); want != "" && got != want {
				t.Errorf("split %s sends %s=%q to %s, want %s", name, from, value, got, want)
			}
		}
	}
}

// cookieOf is the cookie that leads to a branch.
func (v visitor) cookieOf(variable, cookie, upstream string) string {
	for _, is := range v.variables {
		if is.words[0] != "map" || is.words[1] != cookie {
			continue
		}
		for _, words := range is.lines {
			v.set = map[string]string{cookie: words[0]}
			if words[0] != "default" && v.value(variable) == upstream {
				return words[0]
			}
		}
	}
	return ""
}

// visitor is a request, as far as splits see it.
type visitor struct {
	t         *testing.T
	variables map[string]block
	name, key string            // of the split, and of its draw
	set       map[string]string // headers and cookies
	draw      int               // 0 to 99
}

var interpolated = regexp.MustCompile(`\$\{?[A-Za-z0-9_]+\}?`)

// text puts the values of variables in the place of their names.
func (v visitor) text(s string) string {
	return interpolated.ReplaceAllStringFunc(s, func(name string) string { return v.value("$" + strings.Trim(name, "${}")) })
}

// value is a variable's, as nginx evaluates maps and draws.
func (v visitor) value(name string) string {
	is, ok := v.variables[name]
	if !ok {
		return v.set[name]
	}
	if is.words[0] == "split_clients" {
		if is.words[1] != v.key {
			v.t.Errorf("split %s is drawn by %q, want %q", v.name, is.words[1], v.key)
		}
		below := 0
		for _, words := range is.lines {
			percent := 100
			if words[0] != "*" {
				if _, err := fmt.Sscanf(words[0], "%d%%", &percent); err != nil {
					v.t.Fatal(err)
				}
			}
			if below += percent; v.draw < below {
				return words[1]
			}
		}
		return ""
	}
	from, otherwise := v.text(is.words[1]), ""
	for _, words := range is.lines {
		key, expression := strings.CutPrefix(words[0], "~")
		switch {
		case len(words) != 2:
			v.t.Fatalf("the map of %s has the line %q", name, words)
		case words[0] == "default":
			otherwise = words[1]
		case expression && regexp.MustCompile(key).MatchString(from), !expression && strings.EqualFold(key, from):
			return v.text(words[1])
		}
	}
	return v.text(otherwise)
}
