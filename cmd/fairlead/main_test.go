package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"fairlead/pkg/host/hosttest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain makes the test binary a fairlead too: tests start it by that name
// as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(cleaned{m}, map[string]func(){"fairlead": main})
}

// cleaned stops the shared fleet after the last test.
type cleaned struct{ m *testing.M }

func (c cleaned) Run() int { return hosttest.Run(c.run) }

func (c cleaned) run() int {
	// nginx lies in /usr/sbin, which is not on every user's PATH.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	for _, name := range []string{"FAIRLEAD_CONTEXT", "FAIRLEAD_URL", "FAIRLEAD_CREDS", "FAIRLEAD_CA", "FAIRLEAD_TLS_CERT", "FAIRLEAD_TLS_KEY"} {
		os.Unsetenv(name) // the help shows them
	}
	code := c.m.Run()
	if shared != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "the shared fleet:", err)
			return 1
		}
	}
	return code
}

// fixture is one running `fairlead dev` with a home of its own.
type fixture struct {
	dir     string // of everything
	data    string
	address string // node1's; node2 has the next
	process *process
}

var (
	shared     *fixture
	sharedOnce sync.Once
)

// fleetOfTwo is the fleet that scripts share; it serves examples/hello.
func fleetOfTwo(t *testing.T) *fixture {
	t.Helper()
	sharedOnce.Do(func() {
		dir := shortDir(t)
		f := &fixture{dir: dir, data: filepath.Join(dir, "d"), address: loopbackBlock(0)}
		gates := filepath.Join(dir, "gates")
		if err := os.Mkdir(gates, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(gates, "first"), []byte("#!/bin/sh\ngrep -q '\"wave\":1' || { echo 'only the first wave is good'; exit 1; }\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		f.process = start(t, f.env(), "dev", "--data", f.data, "--gates", gates, "--nats", "127.0.0.1:0", "--address", f.address,
			"--nodes", "2", "--allow", program(t, "uname"), "--allow", program(t, "id"), "--allow", program(t, "sleep"), "--apply", filepath.Join(repository(t), "examples/hello"))
		f.process.keep = true
		f.process.out.await(t, `Ctrl-C stops everything`)
		shared = f
	})
	if shared == nil {
		t.Fatal("the shared fleet did not start, see the first test that needed it")
	}
	return shared
}

func (f *fixture) env() []string { return home(f.dir) }

func (f *fixture) site() string { return "http://" + f.address + ":8080" }

// node is the address of the i-th node, from 0.
func (f *fixture) node(i int) string {
	address := netip.MustParseAddr(f.address)
	for range i {
		address = address.Next()
	}
	return address.String()
}

func (f *fixture) stop() error {
	defer os.RemoveAll(f.dir)
	code, err := f.process.interrupt()
	if err == nil && code != 0 {
		err = fmt.Errorf("dev ended with exit code %d:\n%s", code, f.process.err.text())
	}
	return err
}

// home is an environment in which nothing is known but what dir holds.
func home(dir string) []string {
	return []string{
		"HOME=" + filepath.Join(dir, "home"),
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "home/.config"),
		"XDG_DATA_HOME=" + filepath.Join(dir, "home/.local/share"),
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8", "TZ=UTC",
	}
}

// shortDir is a directory whose path leaves room for the names of unix
// sockets, and that the workers of nginx may pass through. Whoever made it
// removes it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownDir is a shortDir for one test.
func ownDir(t *testing.T) string {
	t.Helper()
	dir := shortDir(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// loopbackBlock is a loopback address for a fleet, with room for the next
// few: runs of these tests beside each other must not share ports.
func loopbackBlock(n int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&127, pid&255, 16*n+1)
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}
