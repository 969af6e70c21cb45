package nginx_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func percent(n int) *int { return &n }

// splitSite applies a split over backends that answer with their own name.
func splitSite(n *node, revision uint64, port int, s *fleet.Split, backends ...string) {
	n.t.Helper()
	all := []fleet.Resource{resource("shop-x", s), use("Split/shop-x")}
	for _, name := range backends {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		n.t.Cleanup(server.Close)
		all = append(all, resource(name, &fleet.Upstream{Servers: []fleet.Server{{Address: server.Listener.Addr().String()}}, Keepalive: 16}))
	}
	lines, err := nginx.SplitLines(n.address, all, "shop-x")
	if err != nil {
		n.t.Fatal(err)
	}
	n.mustApply(revision, append(all, raw("site", fmt.Sprintf("server { listen %s:%d; location / {\n%s\nproxy_http_version 1.1; proxy_set_header Connection \"\"; } }",
		n.address, port, strings.Join(lines, "\n"))))...)
}

// visit is one request; it tells the branch and the cookie that was set.
func (n *node) visit(port int, headers ...string) (branch, cookie string) {
	n.t.Helper()
	resp, body, err := n.fetchWith(port, headers...)
	if err != nil || resp.StatusCode != 200 {
		n.t.Fatalf("%v: %+v", err, resp)
	}
	for _, c := range resp.Cookies() {
		cookie = c.Name + "=" + c.Value
	}
	return body, cookie
}

func (n *node) fetchWith(port int, headers ...string) (*http.Response, string, error) {
	n.t.Helper()
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d/", n.address, port), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return do(req)
}

// Of 1,000 draws with a chance of a fifth, fewer than 100 or more than 300
// come once in 10^14.
func TestASplitSendsEachBranchItsShare(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	splitSite(n, 1, port, &fleet.Split{Branches: []fleet.Branch{{Upstream: "new", Percent: percent(20)}, {Upstream: "old"}, {Upstream: "gone", Percent: percent(0)}}}, "new", "old", "gone")
	count := map[string]int{}
	for range 1000 {
		branch, cookie := n.visit(port)
		count[branch]++
		if cookie != "" {
			t.Fatalf("a cookie %q was set", cookie)
		}
	}
	if count["new"] < 100 || count["new"] > 300 || count["new"]+count["old"] != 1000 {
		t.Errorf("got %v", count)
	}
}

func TestRulesOfASplitChooseBeforeTheShares(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	splitSite(n, 1, port, &fleet.Split{
		Branches: []fleet.Branch{{Upstream: "old"}},
		When: []fleet.SplitRule{
			{Header: "X-Canary", Value: "al.ways", Upstream: "new"},
			{Cookie: "tester", Value: "yes", Upstream: "lab"},
			{Header: "X-Canary", Value: "never", Upstream: "old"},
		},
		Sticky: &fleet.Sticky{By: "cookie", Cookie: "branch"},
	}, "old", "new", "lab")
	for headers, want := range map[string]string{
		"":                                     "old",
		"X-Canary: al.ways":                    "new",
		"X-Canary: AL.WAYS":                    "old",
		"X-Canary: alxways":                    "old",
		"Cookie: tester=yes":                   "lab",
		"X-Canary: al.ways|Cookie: tester=yes": "new",
		"X-Canary: never|Cookie: tester=yes":   "lab",
	} {
		var some []string
		if headers != "" {
			some = strings.Split(headers, "|")
		}
		got, cookie := n.visit(port, some...)
		if got != want {
			t.Errorf("%q: %s, want %s", headers, got, want)
		}
		if drawn := want == "old"; drawn != (cookie != "") {
			t.Errorf("%q: the cookie is %q", headers, cookie)
		}
	}
}

func TestAStickyCookieKeepsAVisitorWhenSharesChange(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	canary := &fleet.Split{Sticky: &fleet.Sticky{By: "cookie"},
		Branches: []fleet.Branch{{Upstream: "new", Percent: percent(50)}, {Upstream: "old"}}}
	splitSite(n, 1, port, canary, "new", "old")
	visitors := map[string]string{} // branch → cookie
	for i := 0; len(visitors) < 2 && i < 200; i++ {
		branch, cookie := n.visit(port)
		visitors[branch] = cookie
	}
	stay := func(when string) {
		t.Helper()
		for branch, cookie := range visitors {
			for range 10 {
				if got, again := n.visit(port, "Cookie: "+cookie); got != branch || again != "" {
					t.Fatalf("%s: the visitor of %s came to %s and got %q", when, branch, got, again)
				}
			}
		}
	}
	stay("at first")
	canary.Branches[0].Percent = percent(0)
	splitSite(n, 2, port, canary, "new", "old")
	stay("with no share")
	for range 20 {
		if branch, _ := n.visit(port, "Cookie: fairlead_split=forged"); branch != "old" {
			t.Fatalf("a new visitor came to %s", branch)
		}
	}
	canary.Branches = canary.Branches[1:]
	splitSite(n, 3, port, canary, "old")
	if branch, cookie := n.visit(port, "Cookie: "+visitors["new"]); branch != "old" || cookie != visitors["old"] {
		t.Errorf("after the end of the canary its visitor came to %s with %q", branch, cookie)
	}
}

func TestASplitByClientKeepsAnAddressOnItsBranch(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	splitSite(n, 1, port, &fleet.Split{Sticky: &fleet.Sticky{By: "client"},
		Branches: []fleet.Branch{{Upstream: "a", Percent: percent(50)}, {Upstream: "b", Percent: percent(50)}}}, "a", "b")
	first, _ := n.visit(port)
	for range 50 {
		if again, cookie := n.visit(port); again != first || cookie != "" {
			t.Fatalf("the address came to %s and then to %s (%q)", first, again, cookie)
		}
	}
}

func TestSplitsWhoseNamesDifferInHyphensAreTwo(t *testing.T) {
	long := strings.Repeat("n", 62)
	one, two := &fleet.Split{Branches: []fleet.Branch{{Upstream: long + "-"}}, Sticky: &fleet.Sticky{By: "cookie"},
		When: []fleet.SplitRule{{Header: "X", Value: strings.Repeat("v", 200), Upstream: long + "-"}}}, &fleet.Split{Branches: []fleet.Branch{{Upstream: long + "-"}}}
	n := newNode(t)
	n.mustApply(1, resource("a-b", one), resource("a_b", two), resource(long+"_", one), resource(long+"-", one), use("Split/a-b", "Split/a_b", "Split/"+long+"_", "Split/"+long+"-"),
		resource(long+"-", &fleet.Upstream{Servers: []fleet.Server{{Address: "127.0.0.1:9"}}}))
}
