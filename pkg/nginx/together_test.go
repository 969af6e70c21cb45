package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// many are more sites than lie each in a file of its own: "s000" and so on.
func many(port int, text string) (all []fleet.Resource) {
	for i := range 100 {
		all = append(all, site(fmt.Sprintf("s%03d", i), port, text))
	}
	return all
}

// filesOf names the files of a directory of the version that serves.
func (n *node) filesOf(dir string) (names []string) {
	n.t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.version(), dir))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestManyHostsLieTogetherAndServeAsBefore(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	all := append(many(port, "one"), raw("own", "map $uri $own { default mine; }"), resource("own", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}},
		ServerNames: []string{"own.example.org"}, Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: "own"}}}}))
	v := n.mustApply(1, all...)
	if got, want := n.filesOf("http.d"), []string{"configfile-own.conf", "default.conf", "resources-1.conf"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	b, err := nginx.Render(n.address, all)
	if err != nil {
		t.Fatal(err)
	}
	if v.Digest != b.Digest || v.Probes != len(all) { // without the ConfigFile, with the default host
		t.Errorf("%+v", v)
	}
	for _, name := range []string{"s000", "s050", "s099"} {
		if got := n.get(port, name+".example.org", "/"); got != "200 one" {
			t.Errorf("%s: %s", name, got)
		}
	}
	all[50] = site("s050", port, "two")
	if v := n.mustApply(2, all...); v.Probes != 1 {
		t.Errorf("one host changed and %d were probed", v.Probes)
	}
	if got := n.get(port, "s050.example.org", "/") + n.get(port, "s051.example.org", "/"); got != "200 two200 one" {
		t.Error(got)
	}
	// Few lie each by itself again.
	n.mustApply(3, all[:3]...)
	if got, want := n.filesOf("http.d"), []string{"default.conf", "virtualhost-s000.conf", "virtualhost-s001.conf", "virtualhost-s002.conf"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFilesThatHoldSeveralAreBounded(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, many(port, strings.Repeat("a", 3500))...)
	files := n.filesOf("http.d")
	if len(files) != 3 { // with the default host
		t.Errorf("%v", files)
	}
	for _, name := range files {
		if info, err := os.Stat(filepath.Join(n.version(), "http.d", name)); err != nil || info.Size() > 256<<10 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if got := n.get(port, "s099.example.org", "/"); len(got) != len("200 ")+3500 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestBadHostAmongManyIsNamedByItsOwnLine(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustConverge(1, many(port, "one")...)
	all := many(port, "two")
	all[70] = unreadable("s070", port)
	o := n.mustConverge(2, all...)
	if got := held(o); got != "VirtualHost/s070 kept 1" {
		t.Fatal(got)
	}
	b, err := nginx.Render(n.address, all)
	if err != nil {
		t.Fatal(err)
	}
	line := 1 + strings.Count(strings.Split(string(content(b, "http.d/virtualhost-s070.conf")), `\x{100}`)[0], "\n")
	if says, want := o.Held()[0].Message, fmt.Sprintf("in http.d/virtualhost-s070.conf:%d", line); !strings.Contains(says, want) {
		t.Errorf("got %q, want %q", says, want)
	}
	if got := n.get(port, "s070.example.org", "/") + n.get(port, "s071.example.org", "/"); got != "200 one200 two" {
		t.Error(got)
	}
}

func TestHandEditOfOneOfManyHostsIsNamedShownAndHealed(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, many(port, "hello")...)
	n.looked()
	file := filepath.Join(n.version(), "http.d", "resources-1.conf")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	editFile(t, file, "s070.example.org", "s070.example.org by.hand")
	n.wantEvent(nginx.EventHealed, "http.d/resources-1.conf (edited: VirtualHost/s070)")
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("%v; it is not what it was", err)
	}
	c, err := n.Changes(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.Diff, "+    server_name s070.example.org by.hand;") || strings.Contains(c.Diff, "s069") {
		t.Errorf("it shows %s", c.Diff)
	}
	copies, _ := filepath.Glob(filepath.Join(n.cfg.State, "forensics", "*", "files", "http.d", "resources-1.conf"))
	if len(copies) != 1 || !hasText(copies[0], "by.hand") {
		t.Errorf("copies %v", copies)
	}
}

func TestServersOfAnUpstreamAmongManyAreTakenOut(t *testing.T) {
	n := newNode(t)
	one, two := newBackend(t, n.address, "one"), newBackend(t, n.address, "two")
	port := n.freePort()
	all := append(many(port, "x"), proxied("web", port, "app"), checked("app", one, two))
	n.mustApply(1, all...)
	eventually(t, "both serve", func() bool { return n.servedBy(port, 20) == "one two" })
	one.fail.Store(true)
	eventually(t, "one is out", func() bool { return n.serverStates() == "app "+one.address+" down" && n.servedBy(port, 20) == "two" })
	n.wantEvent("serverdown", "Upstream/app: "+one.address+" takes no more requests")
	if v := n.mustApply(2, all...); v.Changed {
		t.Error("the same resources are another change while a server is down")
	}
	if got := n.get(port, "s099.example.org", "/"); got != "200 x" {
		t.Error(got)
	}
}

func TestOneOfManyHostsThatAKilledAgentDidNotProbeIsRolledBack(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, many(port, "one")...)
	record := filepath.Join(n.cfg.State, "good.json")
	old, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	// Without the file that it tries first the host answers 500.
	root := filepath.Join(filepath.Dir(n.cfg.State), "www")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "a")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	all := many(port, "one")
	all[70] = resource("s070", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"s070.example.org"},
		Locations: []fleet.Location{{Path: "/", Root: root, TryFiles: []string{"/a", "/b"}}}})
	n.mustApply(2, all...)
	n.crash()
	if err := os.WriteFile(record, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	n.start()
	if s := n.status(); s.Running != good.Digest || len(s.Quarantine) != 1 || !slices.Equal(s.Quarantine[0].Owners, []string{"VirtualHost/s070"}) {
		t.Errorf("%+v", s)
	}
}

func TestAHostThatKeepsItsNginxConfIncludesManyTogether(t *testing.T) {
	n, port := included(t, func(conf string) string { return "include " + conf + "/fairlead.con[f];" })
	<-n.Ready()
	n.mustApply(1, many(port, "fairlead's")...)
	if got := n.get(port, "s070.example.org", "/") + n.get(port, "own.example.org", "/"); got != "200 fairlead's200 own" {
		t.Errorf("got %q", got)
	}
	target, err := os.Readlink(filepath.Join(n.cfg.Conf, "fairlead.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if hasText(target, "virtualhost-") || !hasText(target, "resources-1.conf") || hasText(target, "default.conf") {
		t.Errorf("%s includes something else", target)
	}
}

func TestCachesOfHostsAmongManyStay(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	app, _ := application(t)
	cached := resource("h", n.host(port, fleet.Location{Path: "/a", Proxy: &fleet.Proxy{Upstream: "app"}, Cache: &fleet.Cache{}}))
	dirs := func() int {
		found, _ := filepath.Glob(filepath.Join(n.cfg.State, "temp", "cache_h_*"))
		return len(found)
	}
	stray := filepath.Join(n.cfg.State, "temp", "cache_h_gone")
	n.mustApply(1, append(many(port, "x"), app, cached)...)
	if err := os.Mkdir(stray, 0o700); err != nil {
		t.Fatal(err)
	}
	n.mustApply(2, append(many(port, "y"), app, cached)...)
	eventually(t, "the stray cache is removed", func() bool { _, err := os.Lstat(stray); return os.IsNotExist(err) })
	if dirs() != 1 {
		t.Errorf("%d caches", dirs())
	}
}
