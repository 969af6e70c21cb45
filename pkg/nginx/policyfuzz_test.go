package nginx_test

import (
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// Whatever stands in a policy or split, the rendered files have the same
// directives: no value becomes another one.
func FuzzPoliciesAndSplitsNeverBecomeSyntax(f *testing.F) {
	for _, s := range []string{"client", "header:X-Key", "cookie:a_b", "10r/s", "10m", "192.0.2.0/24", "all", "v1.2", "24h", "a; }", "$x", "\"", "\n", "\\", "default", "~x", "{", "header:$x"} {
		f.Add(s, s, s, s)
	}
	good := policyShape(f, "header:X-Key", "10r/s", "192.0.2.0/24", "v1")
	byAddress := policyShape(f, "client", "10r/s", "192.0.2.0/24", "v1")
	f.Fuzz(func(t *testing.T, key, rate, address, value string) {
		b, err := nginx.RenderUnvalidated("127.0.0.1", guardedSplit(key, rate, address, value))
		if err != nil {
			return
		}
		want := good
		if !strings.Contains(key, ":") {
			want = byAddress
		}
		if got := directivesOf(t, b); !slices.Equal(got, want) {
			t.Errorf("%q %q %q %q: directives %q, want %q", key, rate, address, value, got, want)
		}
	})
}

func guardedSplit(key, rate, address, value string) []fleet.Resource {
	return []fleet.Resource{
		use("Policy/p", "Split/s"),
		resource("p", &fleet.Policy{RateLimit: &fleet.RateLimit{Rate: rate, Key: key}, Addresses: []fleet.AddressRule{{Allow: address}, {Deny: "all"}}}),
		resource("s", &fleet.Split{Branches: []fleet.Branch{{Upstream: "u", Percent: percent(5)}, {Upstream: "u2"}},
			When: []fleet.SplitRule{{Header: "X", Value: value, Upstream: "u"}}, Sticky: &fleet.Sticky{By: "cookie"}}),
		resource("u", &fleet.Upstream{Servers: []fleet.Server{{Address: "192.0.2.1:80"}}}),
		resource("u2", &fleet.Upstream{Servers: []fleet.Server{{Address: "192.0.2.2:80"}}}),
	}
}

func policyShape(t testing.TB, key, rate, address, value string) []string {
	b, err := nginx.RenderUnvalidated("127.0.0.1", guardedSplit(key, rate, address, value))
	if err != nil {
		t.Fatal(err)
	}
	return directivesOf(t, b)
}

// directivesOf are the directives of a policy's files, and the blocks of a
// split's with the number of their lines.
func directivesOf(t testing.TB, b nginx.Bundle) []string {
	var names []string
	for _, path := range []string{"http.d/policy-p.conf", "addresses.d/p.conf", "http.d/split-s.conf"} {
		for _, words := range tokenise(t, string(content(b, path))) {
			switch words[0] {
			case "map", "split_clients", "limit_req_zone", "allow", "deny", "}":
				names = append(names, words[0])
			default:
				names = append(names, "value")
				if len(words) != 2 {
					t.Errorf("a line of a map has the words %q", words)
				}
			}
		}
	}
	return names
}
