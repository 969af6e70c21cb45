package nginx_test

import (
	"os"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestConflictingNamesAreRefusedWithBothOwners(t *testing.T) {
	_, err := nginx.Render("", []fleet.Resource{site("one", 80, "x"),
		resource("two", &fleet.VirtualHost{Listen: []fleet.Listen{{Address: "0.0.0.0", Port: 80}}, ServerNames: []string{"ONE.example.org"},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 204}}}})})
	if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "VirtualHost/two: spec.serverNames[0]: VirtualHost/one answers to ONE.example.org on 0.0.0.0:80 already") {
		t.Errorf("got %v", err)
	}
}

func TestRenderDoesNotDependOnOrder(t *testing.T) {
	a, b := site("a", 80, "x"), site("b", 80, "y")
	one, err1 := nginx.Render("", []fleet.Resource{a, b})
	two, err2 := nginx.Render("", []fleet.Resource{b, a})
	if err1 != nil || err2 != nil || one.Digest != two.Digest {
		t.Errorf("%s, %v; %s, %v", one.Digest, err1, two.Digest, err2)
	}
	three, err := nginx.Render("192.0.2.1", []fleet.Resource{a, b})
	if err != nil || three.Digest == one.Digest {
		t.Errorf("the address is not part of the digest: %v", err)
	}
}

func TestStreamWithoutTheModuleIsAPlainFault(t *testing.T) {
	n := newNode(t)
	stream := resource("dns", &fleet.ConfigFile{Context: "stream", Content: "server { listen " + n.address + ":5353; return x; }"})
	_, err := n.apply(1, stream)
	if err == nil {
		return // this machine's nginx has the module, and nginx took the file
	}
	if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "ConfigFile/dns: spec.context: this node's nginx") {
		t.Errorf("got %v", err)
	}
}

func TestApplyBeforeRunIsUnavailable(t *testing.T) {
	e, err := nginx.New(nginx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), 1, nginx.Bundle{}); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, err := e.Status(t.Context()); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestConfigSaysAllFaultsAtOnce(t *testing.T) {
	_, err := nginx.New(nginx.Config{State: "relative", Run: "/" + strings.Repeat("x", 120), Manage: "magic", User: "a;b", Workers: -1})
	for _, part := range []string{"state: ", "run: ", "manage: ", "user: ", "workers: "} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestConfigurationOfOthersIsNotReplaced(t *testing.T) {
	n := newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n.cfg.State); err != nil { // a host where Fairlead never was
		t.Fatal(err)
	}
	replaceByFile(t, n.cfg.Conf+"/nginx.conf", "events {}")
	n.run()
	eventually(t, "the engine runs", func() bool { _, err := n.Status(t.Context()); return err == nil })
	if _, err := n.apply(1, site("web", n.freePort(), "x")); err == nil {
		t.Error("applied over somebody else's nginx.conf")
	}
}
