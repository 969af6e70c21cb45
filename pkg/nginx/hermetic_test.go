package nginx_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// The network in which nginx -t runs has none of the host's addresses.
func TestAHermeticCheckTakesAddressesOfTheHostAndTouchesNothing(t *testing.T) {
	n := newNode(t)
	n.mustApply(1, site("web", n.freePort(), "x"))
	s := n.status()
	if !s.Hermetic {
		if s.HermeticWhy == "" || os.Geteuid() == 0 {
			t.Logf("not hermetic here: %q", s.HermeticWhy)
		}
		return
	}
	dir := filepath.Dir(n.cfg.State)
	cache := filepath.Join(dir, "cache")
	listens := ""
	for _, address := range addresses(t) {
		listens += "listen " + net.JoinHostPort(address, fmt.Sprint(n.freePort())) + "; "
	}
	sockets := t.TempDir()
	listens += "listen unix:" + sockets + "/own.sock; "
	content := "proxy_cache_path " + cache + " keys_zone=c:1m;\naccess_log " + dir + "/own.log;\nserver { " + listens + " return 204; }\n"
	policy := resource("p", &fleet.NodePolicy{Directories: []string{dir, sockets}})
	if err := n.Check(t.Context(), rendered(t, n, policy, raw("own", content))); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cache, filepath.Join(dir, "own.log"), filepath.Join(sockets, "own.sock")} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("the check made %s", path)
		}
	}
	if err := n.Check(t.Context(), rendered(t, n, raw("bad", "allow nonsense;"))); err == nil {
		t.Error("the check finds nothing")
	}
	// At the end of its test nginx logs to the agent's socket, which is not there.
	err := n.Check(t.Context(), rendered(t, n, policy, raw("bad", "server { listen unix:"+sockets+"/none/own.sock; }")))
	if err == nil || !strings.Contains(err.Error(), "/none/own.sock failed (2: ") || strings.Contains(err.Error(), "connect()") {
		t.Errorf("got %v", err)
	}
}

func rendered(t testing.TB, n *node, resources ...fleet.Resource) nginx.Bundle {
	t.Helper()
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// addresses are those of this host, but link-local ones.
func addresses(t *testing.T) (all []string) {
	t.Helper()
	found, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range found {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && !ip.IsLinkLocalUnicast() {
			all = append(all, ip.String())
		}
	}
	return all
}
