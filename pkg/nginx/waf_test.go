package nginx_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

const attackRule = `SecRule ARGS "@contains attack" "id:1,phase:2,deny,status:403,msg:'an attack'"`

// guarded is a host with one location under a firewall and one without.
func guarded(n *node, port int, waf *fleet.WAF) []fleet.Resource {
	text := &fleet.Return{Code: 200, Text: "here"}
	return []fleet.Resource{
		resource("site", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"site.example.org"}, Locations: []fleet.Location{
			{Path: "/", Return: text}, {Path: "/in", Return: text, Policies: []string{"guard_1"}},
			{Path: "/app", Proxy: &fleet.Proxy{Upstream: "app"}, Policies: []string{"guard_1"}},
		}}),
		resource("app", &fleet.Upstream{Servers: []fleet.Server{{Address: serverThatTakesAll(n.t)}}}),
		resource("guard_1", &fleet.Policy{WAF: waf}),
	}
}

func serverThatTakesAll(t *testing.T) string {
	l := listenAt(t, "127.0.0.1")
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "here") }))
	}()
	return l.Addr().String()
}

// wantStatus asks for a path, with a body of this type where it has one.
func (n *node) wantStatus(want, port int, path, kind, body string) {
	n.t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, fmt.Sprintf("http://%s:%d%s", n.address, port, path), strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = "site.example.org"
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0")
	req.Header.Set("Accept", "text/html")
	resp, text, err := do(req)
	if err != nil || resp.StatusCode != want || want == 200 && text != "here" {
		n.t.Errorf("%s %q: got %v, %q, %v, want %d", path, body, resp, text, err, want)
	}
}

// wantLogged waits for a line of the error log with all the parts.
func (n *node) wantLogged(parts ...string) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("a line with %q is logged", parts), func() bool {
		data, err := os.ReadFile(filepath.Join(n.cfg.Logs, "error.log"))
		if err != nil {
			n.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			found := true
			for _, part := range parts {
				found = found && strings.Contains(line, part)
			}
			if found {
				return true
			}
		}
		return false
	})
}

const form = "application/x-www-form-urlencoded"

func TestRulesRefuseWhatTheyMatchInTheirLocationAlone(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, guarded(n, port, &fleet.WAF{Rules: attackRule})...)
	for _, path := range []string{"/in", "/app"} {
		n.wantStatus(403, port, path+"?q=attack", "", "")
		n.wantStatus(200, port, path+"?q=peace", "", "")
	}
	n.wantStatus(403, port, "/app", form, "q=an+attack")
	n.wantStatus(200, port, "/app", form, "q=peace")
	n.wantStatus(200, port, "/?q=attack", "", "")
	n.wantLogged("[error]", "ModSecurity: Access denied with code 403", `[id "1"]`, "an attack")
}

func TestDetectModeLogsAndLetsPass(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, guarded(n, port, &fleet.WAF{Mode: "detect", Rules: attackRule})...)
	n.wantStatus(200, port, "/in?q=attack", "", "")
	n.wantStatus(200, port, "/app?q=attack", "", "")
	n.wantLogged("ModSecurity: Warning", `[id "1"]`, "/app")
	n.mustApply(2, guarded(n, port, &fleet.WAF{Mode: "block", Rules: attackRule})...)
	n.wantStatus(403, port, "/app?q=attack", "", "")
}

func TestTheCoreRuleSetBlocksWhatIsKnownToBeBad(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, guarded(n, port, &fleet.WAF{CoreRuleSet: true, Rules: "SecRuleRemoveById 920350\nSecRuleUpdateTargetByTag attack-xss \"!ARGS:text\""})...)
	sql, script := "1%27%20OR%20%271%27=%271%27%20UNION%20SELECT%20password%20FROM%20users--%20", "%3Cscript%3Ealert(document.cookie)%3C/script%3E"
	for _, path := range []string{"/in", "/app"} {
		n.wantStatus(200, port, path+"?q=books+on+gardens&page=2", "", "")
		n.wantStatus(403, port, path+"?q="+sql, "", "")
		n.wantStatus(403, port, path+"?q="+script, "", "")
	}
	n.wantStatus(200, port, "/app", form, "name=alice&comment=thank+you")
	n.wantStatus(403, port, "/app", form, "name="+sql)
	n.wantStatus(200, port, "/app", form, "text="+script)
	n.wantStatus(403, port, "/app", form, "name="+script)
	n.wantStatus(200, port, "/app", "application/json", `{"name": "alice"}`)
	n.wantStatus(403, port, "/app", "application/json", `{"name": "<script>alert(document.cookie)</script>"}`)
	n.wantStatus(400, port, "/app", "application/json", `{"name": `)
	n.wantStatus(200, port, "/?q="+sql, "", "")
	n.wantLogged(`[id "949110"]`) // that it was too much
	n.wantLogged(`[id "942100"]`) // and what it was
}

func TestABrokenRuleIsRefusedWithItsOwnLine(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := guarded(n, port, &fleet.WAF{Rules: attackRule})
	n.mustConverge(1, good...)
	for want, rules := range map[string]string{
		" in waf.d/guard_1.rules:3":                                       "# two that are fine\n" + attackRule + "\nSecRule ARGS \"@rx a\" \"id:2,phase:2,denyy\"\n",
		"\"id:2\" in waf.d/guard_1.rules:2":                               attackRule + "\nSecRule NO_SUCH \"@rx a\" \"id:2\"\n",
		"Rules must have an ID in waf.d/guard_1.rules:2":                  attackRule + "\nSecRule ARGS \\\n  \"@rx a\" \\\n  \"phase:2,deny\"\n",
		"waf.d/guard_1.rules: ModSecurity says: Rule id: 1 is duplicated": attackRule + "\n" + attackRule,
	} {
		_, err := n.apply(2, guarded(n, port, &fleet.WAF{Rules: rules})...)
		_, among := n.apply(2, append(guarded(n, port, &fleet.WAF{Rules: rules}), many(n.freePort(), "x")...)...)
		err = errors.Join(err, among)
		if got := fmt.Sprint(err); strings.Count(got, "nginx refuses it: Policy/guard_1: [emerg] ") != 2 || strings.Count(got, want) != 2 || strings.Contains(got, n.cfg.State) {
			t.Errorf("%s: got %v", want, err)
		}
		n.wantStatus(200, port, "/in?q=peace", "", "")
		n.wantStatus(403, port, "/in?q=attack", "", "")
	}
	if s := n.status(); !s.Up || s.Revision != 1 {
		t.Errorf("nginx is %+v", s)
	}
	other := site("other", port, "other")
	o, err := n.converge(3, append(guarded(n, port, &fleet.WAF{Rules: "SecRule NO_SUCH \"@rx a\" \"id:2\""}), other)...)
	if got := held(o); err != nil || got != "Policy/guard_1 kept 1" {
		t.Errorf("got %q, %v", got, err)
	}
	n.wantStatus(403, port, "/in?q=attack", "", "")
	if got := n.get(port, "other.example.org", "/"); got != "200 other" {
		t.Errorf("the other host answers %q", got)
	}
	n.mustApply(4, guarded(n, port, &fleet.WAF{Rules: attackRule + "\nSecMarker END"})...)
}

func TestANodeWithoutModSecuritySaysSo(t *testing.T) {
	n := newNode(t)
	n.mustApply(1)
	if err := n.WithoutModules(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	_, err := n.apply(2, guarded(n, n.freePort(), &fleet.WAF{Rules: attackRule})...)
	if err == nil || !strings.Contains(err.Error(), "Policy/guard_1") || !strings.Contains(err.Error(), "libnginx-mod-http-modsecurity") {
		t.Errorf("got %v", err)
	}
	if s := n.status(); !s.Up || s.Revision != 1 {
		t.Errorf("nginx is %+v", s)
	}
}

// A hundred locations with it are no mistake that nginx -t would find.
func TestTheCoreRuleSetIsHeldAgainstTheMemoryThereIs(t *testing.T) {
	n := newNode(t)
	n.SetMemory(90 << 20)
	_, err := n.apply(1, guarded(n, n.freePort(), &fleet.WAF{CoreRuleSet: true})...)
	if err == nil || !strings.Contains(err.Error(), ", 3 locations with the core rule set and ") {
		t.Errorf("got %v", err)
	}
	n.SetMemory(1 << 30)
	n.mustApply(2, guarded(n, n.freePort(), &fleet.WAF{CoreRuleSet: true})...)
}
