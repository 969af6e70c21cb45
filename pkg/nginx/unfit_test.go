package nginx_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/nginx"
)

// What a station would leave out, a real nginx must not be able to take; the
// examples are all taken by one.
func TestNoExampleThatServesIsUnfit(t *testing.T) {
	facts := realFacts(t)
	facts.Curve = "X" // an agent's, not nginx's
	files, err := filepath.Glob("../../examples/resources/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		set, err := manifest.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if why := nginx.UnfitFor(set.Resources(), &facts, nil); len(why) > 0 {
			t.Errorf("%s: %v", file, why)
		}
	}
}

func realFacts(t *testing.T) fleet.Facts {
	t.Helper()
	n := newNode(t)
	facts, err := n.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestFactsAreWhatNginxSaysOfItself(t *testing.T) {
	facts := realFacts(t)
	if !strings.Contains(facts.Nginx, ".") || !facts.Has("http_ssl") || !facts.Has("stream") || !facts.Has("http_modsecurity") || facts.Has("http_nonsense") || !slices.IsSorted(facts.Features) {
		t.Errorf("it says %+v", facts)
	}
}

func TestEachThingThatAnNginxMayLackIsNamed(t *testing.T) {
	old := &fleet.Facts{Nginx: "1.10.0"}
	host := func(h fleet.VirtualHost) fleet.Resource { return resource("x", &h) }
	for want, r := range map[string]fleet.Resource{
		"TLS":                  host(fleet.VirtualHost{Listen: []fleet.Listen{{Port: 443, TLS: true}}}),
		"HTTP/2":               host(fleet.VirtualHost{Listen: []fleet.Listen{{Port: 443, HTTP2: true}}}),
		"stream module":        resource("x", &fleet.Stream{}),
		"ModSecurity":          resource("x", &fleet.Policy{WAF: &fleet.WAF{Rules: "SecMarker A"}}),
		"HTTP/3":               raw("x", "server { listen 1; http3 on; }"),
		"ngx_http_perl_module": raw("x", "server { listen 1; location / { perl A::b; } }"),
		"ngx_http_js_module or ngx_stream_js_module": raw("x", "js_import a.js;"),
	} {
		why := nginx.UnfitFor([]fleet.Resource{r}, old, nil)
		if got := why[r.ID()]; !strings.HasPrefix(got, "nginx 1.10.0 there has no "+want) {
			t.Errorf("%s: %q", want, got)
		}
		if why := nginx.UnfitFor([]fleet.Resource{r}, nil, nil); len(why) > 0 {
			t.Errorf("a node that has not told is unfit: %v", why)
		}
	}
}

func TestTheCoreRuleSetIsAPackageOfItsOwn(t *testing.T) {
	r := resource("x", &fleet.Policy{WAF: &fleet.WAF{CoreRuleSet: true}})
	facts := &fleet.Facts{Nginx: "1.22.1", Modules: []string{"ngx_http_modsecurity_module"}}
	if why := nginx.UnfitFor([]fleet.Resource{r}, facts, nil); !strings.Contains(why[r.ID()], "modsecurity-crs") {
		t.Errorf("%v", why)
	}
	facts.Features = []string{"modsecurity-crs"}
	if why := nginx.UnfitFor([]fleet.Resource{r}, facts, nil); len(why) > 0 {
		t.Errorf("%v", why)
	}
}

// What is in a map's block or in a quote is no directive.
func TestNamesThatOnlyLookLikeDirectivesAskForNothing(t *testing.T) {
	r := raw("x", "map $host $a { perl 1; brotli 2; }\nlog_format x 'a\nbrotli on;';\n# lua_x;\n")
	if why := nginx.UnfitFor([]fleet.Resource{r}, &fleet.Facts{Nginx: "1.22.1"}, nil); len(why) > 0 {
		t.Errorf("%v", why)
	}
}
