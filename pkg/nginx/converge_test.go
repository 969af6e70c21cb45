package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// converge gives the engine a desired state as a station would.
func (n *node) converge(revision uint64, resources ...fleet.Resource) (nginx.Outcome, error) {
	n.t.Helper()
	d := nginx.Desired{Revision: revision, Address: n.address, Resources: resources}
	if b, err := nginx.Render(n.address, resources); err == nil {
		d.Digest = b.Digest
	}
	return n.Converge(n.t.Context(), d)
}

func (n *node) mustConverge(revision uint64, resources ...fleet.Resource) nginx.Outcome {
	n.t.Helper()
	o, err := n.converge(revision, resources...)
	if err != nil {
		n.t.Fatal(err)
	}
	return o
}

// held is what does not serve as desired, "<resource> <state> <revision>" each.
func held(o nginx.Outcome) string {
	var all []string
	for _, r := range o.Held() {
		all = append(all, fmt.Sprintf("%s %s %d", r.Resource, r.State, r.Revision))
	}
	return strings.Join(all, ", ")
}

// unreadable is a host that Fairlead takes and nginx does not: its expression
// names a character that PCRE does not know without UTF.
func unreadable(name string, port int) fleet.Resource {
	return resource(name, &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{name + ".example.org"},
		Locations: []fleet.Location{{Path: `^/\x{100}$`, Match: "regex", Return: &fleet.Return{Code: 200}}}})
}

func TestAThousandHostsAndOneBrokenServeAllButOne(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	hosts := func(text string, but int) []fleet.Resource {
		var all []fleet.Resource
		for i := range 1000 {
			name := fmt.Sprintf("h%03d", i)
			if i == but {
				all = append(all, unreadable(name, port))
				continue
			}
			all = append(all, site(name, port, text))
		}
		return all
	}
	n.mustConverge(1, hosts("one", -1)...)
	missing := filepath.Join(filepath.Dir(n.cfg.State), "missing.crt")
	policy := resource("p", &fleet.NodePolicy{Directories: []string{filepath.Dir(n.cfg.State)}})
	for i, test := range []struct {
		resources  []fleet.Resource
		held, says string
	}{
		{hosts("2", 500), "VirtualHost/h500 kept 1", `character code point value in \x{} or \o{} is too large`},
		{append(hosts("3", -1), raw("bad", "\n\nallow nonsense;")), "ConfigFile/bad left out 0", "configfile-bad.conf:3"},
		{append(hosts("4", -1), raw("bad", "gzip on;\nload_module x.so;")), "ConfigFile/bad left out 0", `spec.content: line 2: "load_module" runs a library`},
		{append(hosts("5", -1), policy, raw("bad", "server { listen "+n.address+":1; ssl_certificate "+missing+"; ssl_certificate_key "+missing+"; }")),
			"ConfigFile/bad left out 0", "missing.crt"},
		{append(hosts("6", -1), raw("bad", `log_format x "$no_such_variable"; server { listen unix:nothing; }`)), "ConfigFile/bad left out 0", "write the whole path"},
		{append(hosts("7", -1), raw("bad", `log_format x "$no_such_variable";`)), "ConfigFile/bad left out 0", `unknown "no_such_variable" variable`}, // nobody is named
	} {
		revision, began := uint64(i+2), time.Now()
		o := n.mustConverge(revision, test.resources...)
		t.Logf("revision %d took %v, the last try %v: %.300s", revision, time.Since(began), o.Took, o.Summary())
		if got := held(o); got != test.held || !strings.Contains(o.Summary(), test.says) {
			t.Errorf("revision %d: held %q, want %q; %q does not say %q", revision, got, test.held, o.Summary(), test.says)
		}
		for _, name := range []string{"h000", "h499", "h500", "h999"} {
			want := fmt.Sprintf("200 %d", revision)
			if revision == 2 && name == "h500" {
				want = "200 one"
			}
			if got := n.get(port, name+".example.org", "/"); got != want {
				t.Errorf("revision %d: %s answers %q", revision, name, got)
			}
		}
		if s := n.status(); s.Revision != revision || s.Whole != 1 {
			t.Errorf("revision %d: status %+v", revision, s)
		}
	}
	if o := n.mustConverge(8, hosts("8", -1)...); !o.Whole() || n.status().Whole != 8 {
		t.Errorf("held %q, status %+v", held(o), n.status())
	}
}

func TestABrokenHostKeepsItsLastGoodVersionAcrossRestarts(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustConverge(1, site("a", port, "1"), site("b", port, "1"))
	n.mustConverge(2, site("a", port, "2"), unreadable("b", port))
	n.crash()
	n.start()
	o := n.mustConverge(3, site("a", port, "3"), unreadable("b", port))
	if got := held(o); got != "VirtualHost/b kept 1" || n.get(port, "a.example.org", "/") != "200 3" || n.get(port, "b.example.org", "/") != "200 1" {
		t.Errorf("held %q", got)
	}
	before := n.workers()
	o = n.mustConverge(4, site("a", port, "3"), unreadable("b", port))
	if o.Changed || held(o) != "VirtualHost/b kept 1" || n.workers() != before {
		t.Errorf("the same again changed something: %+v, held %q", o.Verdict, held(o))
	}
	if o = n.mustConverge(5, site("a", port, "3")); !o.Whole() || n.get(port, "b.example.org", "/") == "200 1" {
		t.Errorf("a host that is desired no longer still answers; held %q", held(o))
	}
}

// The name that a broken host had may be another's by now.
func TestALastGoodVersionThatClashesWithWhatIsDesiredGivesWay(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustConverge(1, site("a", port, "1"))
	heir := site("b", port, "2")
	heir.Spec.(*fleet.VirtualHost).ServerNames = []string{"a.example.org"}
	broken := unreadable("a", port)
	broken.Spec.(*fleet.VirtualHost).ServerNames = []string{"new.example.org"}
	o := n.mustConverge(2, broken, heir)
	if got := held(o); got != "VirtualHost/a left out 0" || n.get(port, "a.example.org", "/") != "200 2" {
		t.Errorf("held %q", got)
	}
}

func TestWhatNeedsABrokenResourceIsHeldWithIt(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	proxy := func(name, upstream string) fleet.Resource {
		return resource(name, &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{name + ".example.org"},
			Locations: []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Upstream: upstream}}}})
	}
	o := n.mustConverge(1, site("a", port, "1"), proxy("p", "nowhere"))
	if got := held(o); got != "VirtualHost/p left out 0" || n.get(port, "a.example.org", "/") != "200 1" {
		t.Errorf("held %q: %s", got, o.Summary())
	}
}

func TestNothingOfAPartialFailureIsLeftOnDisk(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustConverge(1, site("a", port, "1"))
	n.mustConverge(2, site("a", port, "2"), raw("bad", `log_format x "$no_such_variable";`))
	entries, err := os.ReadDir(filepath.Join(n.cfg.State, "versions"))
	if err != nil || len(entries) > 3 { // the base, and one of each revision
		t.Errorf("%v, %v", entries, err)
	}
}

func TestFirstWordsOfOtherFilesAreNotShown(t *testing.T) {
	n := newNode(t)
	secret := filepath.Join(filepath.Dir(n.cfg.State), "secret")
	if err := os.WriteFile(secret, []byte("hunter2 is the password;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := nginx.NewBundle([]nginx.File{{Path: "nginx.conf", Mode: 0o600, Content: []byte("include " + secret + ";\n")}}) // as no renderer would
	_, err := n.Apply(t.Context(), 1, b)
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "unknown directive") {
		t.Errorf("got %v", err)
	}
}

func TestADesiredStateThatRendersToAnotherDigestIsNotApplied(t *testing.T) {
	n := newNode(t)
	before := n.status()
	_, err := n.Converge(t.Context(), nginx.Desired{Revision: 1, Digest: strings.Repeat("a", 64), Address: n.address})
	if err == nil || !strings.Contains(err.Error(), "aaaaaaaaaaaa") || !strings.Contains(err.Error(), "same version") {
		t.Errorf("got %v", err)
	}
	if after := n.status(); after.Running != before.Running || after.Revision != 0 {
		t.Errorf("status %+v, before %+v", after, before)
	}
}
