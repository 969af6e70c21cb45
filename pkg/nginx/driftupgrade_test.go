package nginx_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

func TestNginxThatWasInstalledAnewIsAskedAndTested(t *testing.T) {
	n := newNode(t)
	n.crash()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	real, err := host.LookPath("nginx")
	must(t, err)
	binary, err := os.ReadFile(real)
	must(t, err)
	n.cfg.Binary = filepath.Join(filepath.Dir(n.cfg.State), "nginx")
	install := func() {
		must(t, writeProgram(n.cfg.Binary+".new", binary))
		must(t, os.Rename(n.cfg.Binary+".new", n.cfg.Binary))
	}
	install()
	n.cfg.Sweep = 50 * time.Millisecond
	n.start()
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	pid := n.status().PID
	// Others ask meanwhile; the race detector watches.
	asking, enough := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for asking.Err() == nil {
			s, err := n.Status(asking)
			if n.Prefix() == "" || err == nil && s.Version == "" {
				t.Error("nginx says nothing of itself")
			}
		}
	}()
	install()
	n.wantEvent(nginx.EventUpgraded, "installed anew", "it takes revision 1")
	enough()
	<-asked
	n.mustApply(2, site("web", port, "new"))
	if s := n.status(); s.PID != pid || n.get(port, "web.example.org", "/") != "200 new" {
		t.Errorf("status %+v", s)
	}

	// One that cannot even say its version is in the middle of being installed.
	must(t, writeProgram(n.cfg.Binary+".new", []byte("#!/bin/sh\nexit 1\n")))
	must(t, os.Rename(n.cfg.Binary+".new", n.cfg.Binary))
	install()
	eventually(t, "it is tested again", func() bool {
		count := 0
		for _, event := range n.told() {
			if event == nginx.EventUpgraded {
				count++
			}
		}
		return count == 2
	})
}
