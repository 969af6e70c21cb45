package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/host"
)

// devRun is a `fairlead dev` of one test.
type devRun struct {
	*process
	env           []string
	data, address string
}

// startDev starts dev below dir and waits until it says that everything runs.
func startDev(t *testing.T, dir, address string, args ...string) devRun {
	t.Helper()
	d := devRun{env: home(dir), data: filepath.Join(dir, "d"), address: address}
	d.process = start(t, d.env, append([]string{"dev", "--data", d.data, "--nats", "127.0.0.1:0", "--address", address}, args...)...)
	d.out.await(t, `Ctrl-C stops everything`)
	return d
}

// processesOf are the processes whose command line names a directory.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	pids, err := host.Processes()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(line), dir) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func TestDevSaysWhatItStartedAndStopsItAll(t *testing.T) {
	dir, address := ownDir(t), loopbackBlock(1)
	d := startDev(t, dir, address, "--apply", "examples/hello")
	for _, pattern := range []string{
		`^VirtualHost/hello created$`,
		`^node1 +nginxconfig.nginx +succeeded +revision 1 serves`,
		`^Fairlead runs in `,
		`^  broker +tls://127\.0\.0\.1:\d+ `,
		`^  context +fairlead-dev  \(selected\)$`,
		`^  nodes +node1 ` + regexp.QuoteMeta(address) + `$`,
		`^  data +` + regexp.QuoteMeta(d.data) + `$`,
		`^  site +http://` + regexp.QuoteMeta(address) + `:8080/  \(hello\)$`,
		`^  fairlead status\n  fairlead publish node1.command.reload.nginx --wait\n  fairlead audit --replay$`,
	} {
		d.out.await(t, pattern)
	}
	if text, err := get("http://" + address + ":8080/"); err != nil || text != "Hello from Fairlead.\n" {
		t.Errorf("the site answers %q (%v)", text, err)
	}
	if len(processesOf(t, d.data)) < 2 {
		t.Fatalf("no nginx of %s runs", d.data)
	}
	d.ends(t, syscall.SIGINT, 0)
	if left := processesOf(t, d.data); len(left) > 0 {
		t.Errorf("these still run: %q", left)
	}
	if _, err := get("http://" + address + ":8080/"); err == nil {
		t.Error("the site still answers")
	}

	// A second start goes on: the same revision serves, nothing is done again.
	d = startDev(t, dir, address, "--nodes", "2")
	d.out.await(t, `site +http://`)
	eventually(t, func() error {
		text, err := get("http://" + address + ":8080/")
		if err == nil && text != "Hello from Fairlead.\n" {
			err = fmt.Errorf("the site answers %q", text)
		}
		return err
	})
	eventually(t, func() error {
		p := start(t, d.env, "status")
		if code, err := p.wait(); code != 0 || err != nil || !regexp.MustCompile(`in sync +1 `).MatchString(p.out.text()) {
			return fmt.Errorf("exit code %d (%v):\n%s", code, err, p.out.text())
		}
		return nil
	})
	history, _ := fairlead(t, d.env, 0, "audit", "--replay")
	if n := len(regexp.MustCompile(`node1 +nginxconfig\.nginx`).FindAllString(history, -1)); n != 1 {
		t.Errorf("nginxconfig was sent %d times, want once:\n%s", n, history)
	}
	// A service manager's way to stop it is as good.
	d.ends(t, syscall.SIGTERM, 0)
	if left := processesOf(t, d.data); len(left) > 0 {
		t.Errorf("these still run: %q", left)
	}
	// With fewer nodes the others are away.
	d = startDev(t, dir, address)
	d.out.await(t, `^  away +node2, of an earlier start: --nodes 2 runs it again$`)
	d.ends(t, syscall.SIGINT, 0)
}

func TestTwoDevsDoNotGetInEachOthersWay(t *testing.T) {
	dir := ownDir(t)
	d := startDev(t, dir, loopbackBlock(2))
	port := d.out.await(t, `tls://(127\.0\.0\.1:\d+)`)[1]

	_, stderr := fairlead(t, d.env, 2, "dev", "--data", filepath.Join(dir, "other"), "--nats", port, "--address", loopbackBlock(3))
	if !strings.Contains(stderr, port+" is in use") || !strings.Contains(stderr, "--nats") {
		t.Errorf("a taken port is told as:\n%s", stderr)
	}
	_, stderr = fairlead(t, d.env, 2, "dev", "--data", d.data, "--nats", "127.0.0.1:0", "--address", loopbackBlock(3))
	if !strings.Contains(stderr, d.data) || !strings.Contains(stderr, "--data") {
		t.Errorf("data in use are told as:\n%s", stderr)
	}
	// Neither hurt the first one.
	fairlead(t, d.env, 0, "reload", "node1")
	fairlead(t, d.env, 0, "status")
	d.ends(t, syscall.SIGINT, 0)
}

func TestEachNodeOfDevHasItsOwnNginx(t *testing.T) {
	f := fleetOfTwo(t)
	before, _ := fairlead(t, f.env(), 0, "get", "-o", "name")
	manifest := filepath.Join(t.TempDir(), "two.yaml")
	write(t, manifest, site("own-nginx", "index=2", 8092, "two"))
	fairlead(t, f.env(), 0, "apply", "-f", manifest, "--wait")
	first, second := f.address, strings.TrimSuffix(f.address, ".1")+".2"
	for _, address := range []string{first, second} {
		if text, err := get("http://" + address + ":8080/"); err != nil || text != "Hello from Fairlead.\n" {
			t.Errorf("%s answers %q (%v)", address, text, err)
		}
	}
	if text, err := get("http://" + second + ":8092/"); err != nil || text != "two" {
		t.Errorf("node2 answers %q (%v)", text, err)
	}
	if _, err := get("http://" + first + ":8092/"); err == nil {
		t.Error("node1 serves what is node2's")
	}
	fairlead(t, f.env(), 0, "delete", "-f", manifest, "--wait")
	if after, _ := fairlead(t, f.env(), 0, "get", "-o", "name"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}

func TestDevStaysUpWithBrokenResources(t *testing.T) {
	dir := ownDir(t)
	broken := filepath.Join(dir, "broken.yaml")
	write(t, broken, "apiVersion: fairlead/v1\nkind: VirtualHost\nmetadata:\n  name: x\nspec:\n  listn: 1\n")
	d := startDev(t, dir, loopbackBlock(4), "--apply", broken)
	d.err.await(t, `the resources were not applied: .*broken\.yaml:\d+: VirtualHost/x: `)
	d.err.await(t, `did you mean "listen"`)
	fairlead(t, d.env, 0, "nodes")

	// Another one beside it leaves the first one's context alone.
	second := start(t, d.env, "dev", "--data", filepath.Join(dir, "second"), "--nats", "127.0.0.1:0", "--address", loopbackBlock(15))
	name := second.out.await(t, `^  context +(fairlead-dev-\d+) `)[1]
	second.err.await(t, `the context fairlead-dev is of another fleet that runs here`)
	for context, has := range map[string]string{"fairlead-dev": filepath.Join(dir, "d"), name: filepath.Join(dir, "second")} {
		if out, _ := fairlead(t, d.env, 0, "context", "ls"); !regexp.MustCompile(`(?m)^\*? +` + context + ` .*` + regexp.QuoteMeta(has)).MatchString(out) {
			t.Errorf("%s is not of %s:\n%s", context, has, out)
		}
	}
	if err := second.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := second.wait(); err != nil {
		t.Error(err)
	}
	d.ends(t, syscall.SIGINT, 0)
}

// A port that somebody has is the likeliest thing to go wrong at a first start.
func TestDevSaysWhenAPortIsTaken(t *testing.T) {
	address := loopbackBlock(8)
	taken, err := net.Listen("tcp", address+":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d := startDev(t, ownDir(t), address, "--apply", "examples/hello")
	d.out.await(t, `^node1 +nginxconfig.nginx +failed .*:8080, which process \d+ .* has: stop it`)
	d.err.await(t, `not everything that was applied serves.* --address 127\.0\.0\.2`)
	d.ends(t, syscall.SIGINT, 0)
}

// Programs such as timeout(1) pass an interrupt on twice.
func TestTwoInterruptsInOneMomentStopEverythingInPeace(t *testing.T) {
	d := startDev(t, ownDir(t), loopbackBlock(9))
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	d.err.await(t, `stopping`)
	d.ends(t, syscall.SIGINT, 0)
	if left := processesOf(t, d.data); len(left) > 0 {
		t.Errorf("these still run: %q", left)
	}
}

func TestDevRunsWithoutRoot(t *testing.T) {
	dir := ownDir(t)
	var as *syscall.Credential
	binary := program(t, "fairlead")
	if os.Geteuid() == 0 {
		as = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		// The test's own directory is closed to others.
		open := filepath.Join(dir, "fairlead")
		if out, err := exec.Command("cp", binary, open).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
		binary = open
	}
	hello, err := os.ReadFile(filepath.Join(repository(t), "examples/hello/hello.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "hello.yaml"), string(hello))
	run := func(args ...string) *process {
		return startCommand(t, &exec.Cmd{Path: binary, Args: append([]string{"fairlead"}, args...), Env: home(dir), Dir: dir,
			SysProcAttr: &syscall.SysProcAttr{Credential: as}})
	}
	address := loopbackBlock(5)
	d := run("dev", "--nats", "127.0.0.1:0", "--address", address, "--apply", "hello.yaml")
	d.out.await(t, `Ctrl-C stops everything`)
	d.out.await(t, `data +`+regexp.QuoteMeta(filepath.Join(dir, "home/.local/share/fairlead/dev"))+`$`)
	if text, err := get("http://" + address + ":8080/"); err != nil || text != "Hello from Fairlead.\n" {
		t.Errorf("the site answers %q (%v)", text, err)
	}
	run("reload", "node1").ends(t, nil, 0)
	p := run("shell", "node1", "--", "id", "-u")
	p.ends(t, nil, 0)
	if as != nil && p.out.text() != "65534\n" {
		t.Errorf("the agent runs as %s", p.out.text())
	}
	d.ends(t, syscall.SIGINT, 0)
	if left := processesOf(t, filepath.Join(dir, "home")); len(left) > 0 {
		t.Errorf("these still run: %q", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// site is a virtual host that answers a text.
func site(name, selector string, port int, text string) string {
	return fmt.Sprintf(`apiVersion: fairlead/v1
kind: VirtualHost
metadata:
  name: %s
spec:
  selector: %q
  listen: [{port: %d}]
  serverNames: [_]
  locations:
    - path: /
      return: {code: 200, text: %q}
`, name, selector, port, text)
}
