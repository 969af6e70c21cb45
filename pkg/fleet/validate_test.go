package fleet_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

// site is a valid resource to spoil, one value at a time.
func site() (fleet.Resource, *fleet.VirtualHost) {
	host := &fleet.VirtualHost{
		Selector:    "role=edge",
		Listen:      []fleet.Listen{{Port: 80}, {Address: "2001:db8::1", Port: 80}},
		ServerNames: []string{"www.example.org", "*.example.org"},
		Headers:     map[string]string{"X-Frame-Options": "DENY"},
		Locations: []fleet.Location{
			{Path: "/", Root: "/srv/www", Index: []string{"index.html"}},
			{Path: "/hi", Match: "exact", Return: &fleet.Return{Code: 200, Text: "it's {fine}; \"really\"\n", ContentType: "text/plain; charset=utf-8"}},
			{Path: `^/v\d{1,3}/([a-z]+/)*$`, Match: "regex", Proxy: &fleet.Proxy{Upstream: "app", Headers: map[string]string{"X-From": "edge"}}},
			{Path: "/old", Redirect: &fleet.Redirect{To: "https://www.example.org/new", Code: 308, KeepPath: true}},
		},
	}
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: "VirtualHost", Metadata: fleet.Metadata{Name: "site"}, Spec: host}, host
}

func TestAGoodHostHasNoFault(t *testing.T) {
	r, _ := site()
	if faults := r.Validate(); faults != nil {
		t.Error(faults)
	}
	if err := r.Validate().Err(); err != nil {
		t.Errorf("no faults are an error: %v", err)
	}
}

func TestEachWrongValueIsFoundAtItsPath(t *testing.T) {
	type host = fleet.VirtualHost
	cases := map[string][]func(*host){
		"spec.selector":       {func(h *host) { h.Selector = "a in" }},
		"spec.listen":         {func(h *host) { h.Listen = nil }},
		"spec.listen[0].port": {func(h *host) { h.Listen[0].Port = 0 }, func(h *host) { h.Listen[0].Port = 65536 }},
		"spec.listen[1]":      {func(h *host) { h.Listen[0].Address = "2001:DB8:0::1" }},
		"spec.listen[0].address": {
			func(h *host) { h.Listen[0].Address = "[::1]" }, func(h *host) { h.Listen[0].Address = "localhost" },
			func(h *host) { h.Listen[0].Address = "fe80::1%eth0" }, func(h *host) { h.Listen[0].Address = "::ffff:1.2.3.4" },
			func(h *host) { h.Listen[0].Address = "127.0.0.1; }" }, func(h *host) { h.Listen[0].Address = "224.0.0.1" },
		},
		"spec.serverNames":    {func(h *host) { h.ServerNames = nil }},
		"spec.serverNames[1]": {func(h *host) { h.ServerNames[1] = "WWW.example.ORG" }},
		"spec.locations":      {func(h *host) { h.Locations = nil }},
		"spec.locations[1]":   {func(h *host) { h.Locations[1] = h.Locations[0] }, func(h *host) { h.Locations[1].Return = nil }, func(h *host) { h.Locations[1].Root = "/srv" }},
		"spec.locations[1].match": {
			func(h *host) { h.Locations[1].Match = "Exact" },
		},
		"spec.locations[1].index":           {func(h *host) { h.Locations[1].Index = []string{"a"} }},
		"spec.locations[1].return.code":     {func(h *host) { h.Locations[1].Return.Code = 199 }, func(h *host) { h.Locations[1].Return.Code = 600 }},
		"spec.locations[2].proxy.upstream":  {func(h *host) { h.Locations[2].Proxy.Upstream = "" }, func(h *host) { h.Locations[2].Proxy.Upstream = "a.b" }},
		"spec.locations[3].redirect.code":   {func(h *host) { h.Locations[3].Redirect.Code = 304 }},
		"spec.locations[0].headers.X-Bad":   {func(h *host) { h.Locations[0].Headers = map[string]string{"X-Bad": "a\r\nb"} }},
		"spec.headers.x-frame-options":      {func(h *host) { h.Headers["x-frame-options"] = "DENY" }},
		"spec.locations[2].proxy.headers.A": {func(h *host) { h.Locations[2].Proxy.Headers = map[string]string{"A": "$host"} }},
	}
	for path, spoilers := range cases {
		for i, spoil := range spoilers {
			r, h := site()
			spoil(h)
			faults := r.Validate()
			if len(faults) != 1 || faults[0].Path != path || faults[0].Subject != "VirtualHost/site" {
				t.Errorf("%s, case %d gives %q, want one fault there", path, i, faults.Error())
			}
		}
	}
}

// values sets one text of the host and says which values it takes and which not.
type values struct {
	path      string
	set       func(*fleet.VirtualHost, string)
	good, bad []string
}

func TestNoValueCanBecomeNginxSyntax(t *testing.T) {
	long := strings.Repeat("a", 5000)
	cases := []values{
		{"spec.serverNames[0]", func(h *fleet.VirtualHost, s string) { h.ServerNames[0] = s },
			[]string{"_", "localhost", "a-b.c_d.example", "*.a.example", "xn--bcher-kva.example", "192.0.2.1", strings.Repeat("a.", 126) + "a"},
			[]string{"", "a b", "a;b", "a{", "}", "$host", `a"b`, "a'b", `a\b`, "a\nb", "a\x00b", "a\tb", "~^a", "www.*", "*", "*.", "a.*.b", ".a", "a.", "-a", "a-", "a..b",
				"a:80", "http://a", "bücher.example", "a/b", "#", "*.*.a", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", "a.com; } server {", "\u2028", "\xff"}},
		{"spec.locations[0].path", func(h *fleet.VirtualHost, s string) { h.Locations[0].Path = s },
			[]string{"/", "/a/b.c", "/~user", "/.well-known/acme-challenge/", "/ü", "/100%", "/a=b", "/a,b", "/@"},
			[]string{"", "a", "/a b", "/;", "/{", "/}", "/$a", `/"`, "/'", `/\`, "/\n", "/\x00", "//", "/a/../b", "/./a", "/%41", "/a?b", "/a#b", "= /", "/" + long, "/\x7f"}},
		{"spec.locations[2].path", func(h *fleet.VirtualHost, s string) { h.Locations[2].Path = s },
			[]string{`\.(png|jpe?g)$`, `^/a{2,3}$`, `(?i)\.php$`, `^/(\d{1,3}\.){3}\d{1,3}$`, `^/([a-z]+/)+x$`, `^/(?:[^/]+/)*$`, `^/.*\.html$`, `/(a|b)+/`},
			[]string{"", "(", "^/(?=a)", `(a)\1`, "a b", "a;b", `a"b`, "a'b", "a\nb", "a\x00", "(?P<host>a)", "(?<host>a)", "^(a+)+$", "(?:a+)+", "(a*)*", "([a-z]+)*x", "((a|b)*c*)*",
				"(?i:a+)+", "(.*/)*", "(a{1,50}){1,50}", "(a+b?)+", "(x(a+)y*)*z(b+)+", strings.Repeat("a", 513)}},
		{"spec.locations[0].root", func(h *fleet.VirtualHost, s string) { h.Locations[0].Root = s },
			[]string{"/srv", "/srv/www/", "/srv/..hidden"},
			[]string{"srv", "/", "//", "/srv/../etc", "/srv/.", "/srv/$host", "/srv/a b", "/srv;", "/srv\n", `/srv"`, "/" + long}},
		{"spec.locations[0].index[0]", func(h *fleet.VirtualHost, s string) { h.Locations[0].Index[0] = s },
			[]string{"index.html", "default.htm"},
			[]string{"", "..", ".", "a/b", "/a", "$uri", "a b", "a;", "a\n", strings.Repeat("a", 256)}},
		{"spec.locations[1].return.text", func(h *fleet.VirtualHost, s string) { h.Locations[1].Return.Text = s },
			[]string{"", "{\"a\": [1, 'b']}\r\n", "tab\tand ünïcode; }", `\n`, "costs $5, $uri", strings.Repeat("a", 4000)},
			[]string{"a\x00", "\xff", long, strings.Repeat(`"`, 2001)}},
		{"spec.locations[1].return.contentType", func(h *fleet.VirtualHost, s string) { h.Locations[1].Return.ContentType = s },
			[]string{"", "text/html", "application/problem+json", `text/plain; charset="utf-8"`},
			[]string{"text", "text/plain; }", "text/plain\n", "text/$a", "a b/c", "text/plain;;"}},
		{"spec.locations[3].redirect.to", func(h *fleet.VirtualHost, s string) { h.Locations[3].Redirect.To = s },
			[]string{"/", "/new/", "https://example.org", "http://example.org:8080/a", "http://[2001:db8::1]/"},
			[]string{"", "new", "//evil.example", "javascript:alert(1)", "ftp://a", "https://", "https://u:p@a", "https://a/$uri", "/a b", "/a\r\nX: y", `/"`, "/a?b", "/{", "/" + long, "https:a", "/%zz"}},
		{"spec.headers.X-Frame-Options", func(h *fleet.VirtualHost, s string) { h.Headers["X-Frame-Options"] = s },
			[]string{"DENY", `max-age=1; a="b"`, "default-src 'self'; {}", "tab\there", "ü"},
			[]string{"", "a\r\nb", "a\nb", "a\rb", "a\x00", "$host", "\x1b", "\xff", long}},
	}
	for _, c := range cases {
		for _, value := range c.good {
			r, h := site()
			c.set(h, value)
			if faults := r.Validate(); len(faults) > 0 {
				t.Errorf("%q at %s is refused: %v", value, c.path, faults)
			}
		}
		for _, value := range c.bad {
			r, h := site()
			c.set(h, value)
			if faults := r.Validate(); len(faults) != 1 || faults[0].Path != c.path {
				t.Errorf("%.60q at %s gives %q, want one fault there", value, c.path, faults.Error())
			} else if strings.ContainsAny(faults[0].Message, "\n\r\x00\x1b") || len(faults[0].Message) > 500 {
				t.Errorf("%.60q at %s: the message is not fit for a terminal: %q", value, c.path, faults[0].Message)
			}
		}
	}
}

func TestHeaderNamesAreTokens(t *testing.T) {
	for _, name := range []string{"", "a b", "a:", "a\n", "ü", `a"`, "a;", "a{", "$a", "a\\", strings.Repeat("a", 256)} {
		r, h := site()
		h.Headers = map[string]string{name: "x"}
		if faults := r.Validate(); len(faults) != 1 {
			t.Errorf("%.20q gives %v, want one fault", name, faults)
		}
	}
}

func TestReturnWithoutABodyTakesNoText(t *testing.T) {
	for _, code := range []int{204, 301, 302, 303, 304, 307, 308, 444} {
		r, h := site()
		h.Locations[1].Return.Code = code
		if faults := r.Validate(); len(faults) != 1 || faults[0].Path != "spec.locations[1].return.text" {
			t.Errorf("%d with a text gives %v, want one fault", code, faults)
		}
		h.Locations[1].Return.Text = ""
		if faults := r.Validate(); len(faults) > 0 {
			t.Errorf("%d without a text is refused: %v", code, faults)
		}
	}
}

func TestResourceSurvivesJSON(t *testing.T) {
	r, _ := site()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again fleet.Resource
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, r) {
		t.Errorf("%+v became %+v", r, again)
	}
}
