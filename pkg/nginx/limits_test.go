package nginx_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// uses is a spec that needs others and renders to nothing.
type uses []fleet.Need

func (uses) Kind() string           { return "Uses" }
func (uses) Validate() fleet.Faults { return nil }
func (u uses) Needs() []fleet.Need  { return u }
func use(ids ...string) fleet.Resource {
	var needs uses
	for i, id := range ids {
		kind, name, _ := strings.Cut(id, "/")
		needs = append(needs, fleet.Need{Kind: kind, Name: name, Path: fmt.Sprintf("spec.locations[0].policies[%d]", i)})
	}
	return resource("test", needs)
}

// limited is a host whose every path is under the policies.
func limited(n *node, port int, policies ...fleet.Resource) []fleet.Resource {
	n.t.Helper()
	var ids, names []string
	for _, p := range policies {
		ids, names = append(ids, p.ID()), append(names, p.Metadata.Name)
	}
	all := append(policies, use(ids...))
	lines, err := nginx.PolicyLines(n.address, all, "location", names)
	if err != nil {
		n.t.Fatal(err)
	}
	return append(all, raw("site", fmt.Sprintf("server { listen %s:%d; location / {\n%s\nempty_gif; } }", n.address, port, strings.Join(lines, "\n"))))
}

// mustApplyLines applies raw files as if Fairlead had written them.
func (n *node) mustApplyLines(revision uint64, resources []fleet.Resource) {
	n.t.Helper()
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		n.t.Fatal(err)
	}
	for i, f := range b.Files {
		if strings.HasPrefix(f.Owner, "ConfigFile/") {
			b.Files[i].Owner = ""
		}
	}
	if _, err := n.Apply(n.t.Context(), revision, b); err != nil {
		n.t.Fatal(err)
	}
}

// ask sends one request from an address with headers; the answer is its status.
func (n *node) ask(from string, port int, headers ...string) int {
	n.t.Helper()
	return n.askFor("/", from, port, headers...)
}

func (n *node) askFor(path, from string, port int, headers ...string) int {
	n.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, addr)
	}}}
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%d%s", n.address, port, path), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func rateLimit(key string) *fleet.Policy {
	return &fleet.Policy{RateLimit: &fleet.RateLimit{Rate: "1r/m", Burst: 1, NoDelay: true, Key: key}}
}

func TestARateLimitRefusesWhatIsAboveIt(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, limited(n, port, resource("slow", rateLimit("")))...)
	for i, want := range []int{200, 200, 429, 429} {
		if got := n.ask("127.0.0.5", port); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	if got := n.ask("127.0.0.6", port); got != 200 {
		t.Errorf("another client: %d", got)
	}
}

func TestALimitByHeaderCountsByAddressWhoLeavesItOut(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, limited(n, port, resource("by-key", rateLimit("header:X-Api-Key")))...)
	for i, c := range []struct {
		from, header string
		want         int
	}{
		{"127.0.0.5", "X-Api-Key: a", 200}, {"127.0.0.6", "X-Api-Key: a", 200}, {"127.0.0.7", "X-Api-Key: a", 429},
		{"127.0.0.5", "X-Api-Key: b", 200},
		{"127.0.0.5", "X-Other: a", 200}, {"127.0.0.5", "X-Other: a", 200}, {"127.0.0.5", "X-Other: b", 429},
	} {
		if got := n.ask(c.from, port, c.header); got != c.want {
			t.Errorf("request %d: %d, want %d", i, got, c.want)
		}
	}
}

// NGINX refuses a reload that changes the key of a zone that lives: `-t` says
// nothing of it.
func TestTheKeyOfALiveZoneMayChange(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	naive := func(key string) fleet.Resource {
		return raw("naive", "limit_req_zone "+key+" zone=mine:1m rate=1r/s;\n")
	}
	n.mustApply(1, naive("$binary_remote_addr"))
	if _, err := n.apply(2, naive("$server_name")); err == nil || !strings.Contains(err.Error(), `gives the zone "mine" another key`) {
		t.Fatalf("the naive way is fine: %v", err)
	}
	for i, key := range []string{"client", "header:X-Api-Key", "cookie:visitor", "server", "client"} {
		policy := rateLimit(key)
		policy.ConnLimit = &fleet.ConnLimit{Max: 9, Key: key}
		if v := n.mustApply(uint64(3+i), limited(n, port, resource("live", policy))...); !v.Changed {
			t.Errorf("%s: nothing changed", key)
		}
		if got := n.ask("127.0.0.5", port, "X-Api-Key: k", "Cookie: visitor=v"); got != 200 {
			t.Errorf("%s: %d", key, got)
		}
	}
}

func TestTheSizeAndRateOfALiveZoneMayChange(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	policy := rateLimit("")
	for i, change := range []func(){func() {}, func() { policy.RateLimit.Rate = "100r/s" }, func() { policy.RateLimit.Zone = "20m" }, func() { policy.RateLimit.Zone = "64k" }} {
		change()
		n.mustApply(uint64(1+i), limited(n, port, resource("live", policy))...)
		if got := n.ask("127.0.0.5", port); got != 200 {
			t.Errorf("change %d: %d", i, got)
		}
	}
}

func TestOfAddressListsTheFirstLineThatMatchesCounts(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	bad := resource("bad", &fleet.Policy{Addresses: []fleet.AddressRule{{Deny: "127.0.0.66"}}})
	office := resource("office", &fleet.Policy{Addresses: []fleet.AddressRule{{Allow: "127.0.0.0/24"}, {Allow: "2001:db8::/32"}, {Deny: "all"}}})
	n.mustApplyLines(1, limited(n, port, bad, office))
	for from, want := range map[string]int{"127.0.0.66": 403, "127.0.0.67": 200, "127.0.1.67": 403} {
		if got := n.ask(from, port); got != want {
			t.Errorf("%s: %d, want %d", from, got, want)
		}
	}
}

func TestPoliciesThatCannotHoldTogetherAreNamed(t *testing.T) {
	limit := func(status int) *fleet.Policy {
		return &fleet.Policy{RateLimit: &fleet.RateLimit{Rate: "1r/s", Status: status}}
	}
	waf := &fleet.Policy{WAF: &fleet.WAF{CoreRuleSet: true}}
	for want, some := range map[string][]fleet.Resource{
		"Policy/b refuses with 503 and another policy of the same place with 429": {resource("a", limit(0)), resource("b", limit(503)), use("Policy/a", "Policy/b")},
		"Policy/b and a differ in the rules of their waf":                         {resource("a", waf), resource("b", waf), use("Policy/a", "Policy/b")},
		"name it at the locations that need it":                                   {resource("a", waf), resource("x", uses{{Kind: "Policy", Name: "a", Path: "spec.policies[0]"}})},
	} {
		if _, err := nginx.Render("", some); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestPoliciesHoldWhereALocationAnswersByItself(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	host := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"_"}, Policies: []string{"office"},
		Locations: []fleet.Location{
			{Path: "/", Return: &fleet.Return{Code: 200, Text: "for the office"}},
			{Path: "/slow", Return: &fleet.Return{Code: 200, Text: "for the office"}, Policies: []string{"slow"}},
		}}
	n.mustApply(1, resource("site", host), resource("slow", rateLimit("")),
		resource("office", &fleet.Policy{Addresses: []fleet.AddressRule{{Allow: "127.0.0.0/24"}, {Deny: "all"}}}))
	for from, want := range map[string]int{"127.0.0.5": 200, "127.0.1.5": 403} {
		if got := n.ask(from, port); got != want {
			t.Errorf("%s: %d, want %d", from, got, want)
		}
	}
	for i, want := range []int{200, 200, 429} {
		if got := n.askFor("/slow", "127.0.0.5", port); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	if got := n.askFor("/slow", "127.0.1.5", port); got != 403 {
		t.Errorf("the host's list does not hold in a location with a policy of its own: %d", got)
	}
}

// A split over a virtual host sets its cookie and keeps the host's headers.
func TestAVirtualHostPassesToASplit(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	defer backend.Close()
	n.mustApply(1,
		resource("site", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"_"}, Headers: map[string]string{"X-Shop": "1"},
			Locations: []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Split: "my-split"}}}}),
		resource("my-split", &fleet.Split{Branches: []fleet.Branch{{Upstream: "app"}}, Sticky: &fleet.Sticky{By: "cookie"}}),
		resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: backend.Listener.Addr().String()}}}))
	resp, body, err := n.fetch(port, "x", "/a/b")
	if err != nil || body != "/a/b" || resp.Header.Get("X-Shop") != "1" || !strings.HasPrefix(resp.Header.Get("Set-Cookie"), "fairlead_split=") {
		t.Errorf("got %q, %v, %v", body, resp, err)
	}
}
