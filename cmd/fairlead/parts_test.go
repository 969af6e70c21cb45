package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// parts is a fleet of separate processes, as in production: a broker, a
// station and the agent of ship1.
type parts struct {
	t       *testing.T
	dir     string
	env     []string
	address string // of ship1's nginx
	url     string
	host    string // the broker's data
	broker  *process
	station *process
	agent   *process
}

// startParts makes users, starts broker and station, and registers ship1.
func startParts(t *testing.T, address string) *parts {
	t.Helper()
	p := &parts{t: t, dir: ownDir(t), address: address}
	p.env = home(p.dir)

	dir := filepath.Join(p.dir, "identity")
	fairlead(t, p.env, 0, "init", "--dir", dir)
	for _, ship := range []string{"ship1", "ship2"} {
		fairlead(t, p.env, 0, "user", "create", ship, "--role", "node", "--dir", dir, "--offline")
	}
	out, _ := fairlead(t, p.env, 0, "user", "ls", "--dir", dir, "-o", "json")
	var users []struct{ Name, Role, Key, CredsFile string }
	if err := json.Unmarshal([]byte(out), &users); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	key := ""
	for _, u := range users {
		if info, err := os.Stat(u.CredsFile); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("credentials of %s: %v (%v)", u.Name, info, err)
		}
		if u.Name == "ship1" {
			key = u.Key
		}
	}
	if key == "" || len(users) != 4 {
		t.Fatalf("want admin, station, ship1, ship2, got %+v", users)
	}

	// The broker's host gets nothing but what a broker needs.
	host := filepath.Join(p.dir, "host")
	if err := os.CopyFS(filepath.Join(host, "identity/broker"), os.DirFS(filepath.Join(p.dir, "identity/broker"))); err != nil {
		t.Fatal(err)
	}
	_, stderr := fairlead(t, p.env, 2, "broker", "--data", host, "--node", "ship9", "--print-users")
	if !strings.Contains(stderr, "`fairlead user create NAME --role node --dir DATA/identity` does that") {
		t.Errorf("users by the broker's flags:\n%s", stderr)
	}
	p.host = host
	p.startBroker("127.0.0.1:0")
	p.station = p.startStation()

	fairlead(t, p.env, 0, "context", "add", "parts", "--url", p.url, "--creds", p.creds("admin"))
	fairlead(t, p.env, 0, "context", "select", "parts")
	p.eventually(0, `registered ship1`, "nodes", "add", "ship1", "--key", key, "--label", "role=edge", "--address", address)
	p.eventually(0, `^ship1 +never seen +never +none +- +role=edge$`, "nodes")
	p.startAgent()
	return p
}

func (p *parts) startBroker(listen string) {
	p.t.Helper()
	p.broker = start(p.t, p.env, "broker", "--data", p.host, "--listen", listen, "--sync", "2m")
	p.url = p.broker.err.await(p.t, `broker is ready.* url=(tls://\S+)`)[1]
}

func (p *parts) startStation() *process {
	p.t.Helper()
	return start(p.t, p.env, "station", "--url", p.url, "--creds", p.creds("station"), "--trust", p.trust())
}

func (p *parts) creds(user string) string {
	return filepath.Join(p.dir, "identity/tenants/main/users", user+".creds")
}
func (p *parts) trust() string { return filepath.Join(p.dir, "identity/tenants/main/trust.json") }

func (p *parts) startAgent() {
	p.t.Helper()
	p.agent = p.agentOf("ship1")
}

func (p *parts) agentOf(name string) *process {
	p.t.Helper()
	n := filepath.Join(p.dir, name)
	if err := os.MkdirAll(n, 0o755); err != nil {
		p.t.Fatal(err)
	}
	a := start(p.t, p.env, "agent", "--url", p.url, "--creds", p.creds(name), "--trust", p.trust(),
		"--state", filepath.Join(n, "state"), "--run", filepath.Join(n, "run"), "--logs", filepath.Join(n, "logs"),
		"--nginx-conf", filepath.Join(n, "conf"), "--nginx-workers", "1", "--health-every", "1s")
	p.eventually(0, `^`+name+` +online`, "nodes")
	return a
}

// eventually runs a command until exit code and output are as wanted.
func (p *parts) eventually(code int, pattern string, args ...string) string {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	var out string
	eventually(p.t, func() error {
		run := start(p.t, p.env, args...)
		got, err := run.wait()
		out = run.out.text()
		if err == nil && (got != code || !re.MatchString(out)) {
			err = fmt.Errorf("exit code %d:\n%s%s", got, out, run.err.text())
		}
		return err
	})
	return out
}

func (p *parts) serves(port int, text string) {
	p.t.Helper()
	eventually(p.t, func() error {
		got, err := get(fmt.Sprintf("http://%s:%d/", p.address, port))
		if err == nil && got != text {
			err = fmt.Errorf("it answers %q, want %q", got, text)
		}
		return err
	})
}

// master is the process id of ship1's nginx.
func (p *parts) master() int {
	p.t.Helper()
	return masterIn(p.t, filepath.Join(p.dir, "ship1"))
}

// masterIn is the process id of the nginx that an agent runs below a directory.
func masterIn(t *testing.T, dir string) int {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "nginx.pid" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return errors.Join(err, fs.SkipAll)
	})
	if found == 0 || err != nil && !errors.Is(err, fs.SkipAll) {
		t.Fatalf("the pid of nginx: %d (%v)", found, err)
	}
	return found
}

// stopNginx ends what an agent leaves running by design.
func (p *parts) stopNginx() { stopNginxIn(p.t, filepath.Join(p.dir, "ship1")) }

func stopNginxIn(t *testing.T, dir string) {
	if pid := masterIn(t, dir); pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGQUIT) // it may have ended
		eventually(t, func() error {
			if left := processesOf(t, dir+"/conf"); len(left) > 0 {
				return fmt.Errorf("still there: %q", left)
			}
			return nil
		})
	}
}

func TestSeparatePartsCarryAChangeToAShipThatWasAway(t *testing.T) {
	p := startParts(t, loopbackBlock(6))
	one, two := filepath.Join(p.dir, "one.yaml"), filepath.Join(p.dir, "two.yaml")
	write(t, one, site("site", "role=edge", 8080, "one"))
	write(t, two, site("site", "role=edge", 8080, "two"))

	out, _ := fairlead(t, p.env, 0, "apply", "-f", one, "--wait")
	if !regexp.MustCompile(`(?m)^ship1 +nginxconfig.nginx +succeeded +revision 1 serves`).MatchString(out) {
		t.Errorf("apply says:\n%s", out)
	}
	p.serves(8080, "one")
	t.Cleanup(p.stopNginx)

	// The agent stops; its nginx does not.
	master := p.master()
	p.agent.ends(t, syscall.SIGTERM, 0)
	p.serves(8080, "one")
	p.eventually(0, `^ship1 +offline .* in sync as of \d+s ago `, "nodes")
	p.eventually(3, `^ship1 +offline .* in sync as of \d+s ago `, "status") // unknown is not good
	fairlead(t, p.env, 0, "status", "--last-known")
	p.eventually(3, `^sync +in sync as of \d+s ago$`, "status", "ship1")

	out, _ = fairlead(t, p.env, 3, "apply", "-f", two, "--wait")
	if !regexp.MustCompile(`(?m)^ship1 +nginxconfig.nginx +pending \(last seen \d+s ago\)$`).MatchString(out) {
		t.Errorf("apply to a ship that is away says:\n%s", out)
	}
	var reloads []string
	for range 5 {
		out, _ := fairlead(t, p.env, 0, "publish", "ship1.command.reload.nginx", "-o", "name")
		reloads = append(reloads, strings.TrimSpace(out))
	}
	out, _ = fairlead(t, p.env, 3, "reload", "ship1")
	if !strings.Contains(out, "pending (last seen ") {
		t.Errorf("reload of a ship that is away says:\n%s", out)
	}
	p.eventually(3, `^ship1 +offline \(last seen .*pending +2 \S+ +1 \S+ +7 `, "status")
	p.eventually(3, `take the newest revision when it is there again`, "why", "ship1")
	p.serves(8080, "one")

	// It comes back: the newest revision, one reload, the others superseded.
	p.startAgent()
	p.serves(8080, "two")
	p.eventually(0, `^ship1 +online +in sync +2 `, "status")
	p.eventually(0, `^ship1 +online +in sync +2 \S+ +2 \S+ +-$`, "status") // nothing waits
	for _, id := range reloads {
		history, _ := fairlead(t, p.env, 0, "audit", "--id", id)
		if !regexp.MustCompile(`(?m)  reload +.*superseded .*by ship1 .*` + id).MatchString(history) {
			t.Errorf("an older reload did not end superseded:\n%s", history)
		}
	}
	history, _ := fairlead(t, p.env, 0, "audit", "--replay", "--node", "ship1")
	if n := len(regexp.MustCompile(`(?m)  reload +.*succeeded `).FindAllString(history, -1)); n != 1 {
		t.Errorf("%d reloads succeeded, want one:\n%s", n, history)
	}
	if now := p.master(); now != master {
		t.Errorf("nginx is another process: %d, was %d", now, master)
	}
}

// The key that signs certificates may be kept elsewhere, and addresses change.
func TestABrokerStartsWhereItsCertificateCannotBeIssuedAnew(t *testing.T) {
	dir := ownDir(t)
	env := home(dir)
	fairlead(t, env, 0, "init", "--dir", filepath.Join(dir, "identity"))
	if err := os.Remove(filepath.Join(dir, "identity/ca/ca.key")); err != nil {
		t.Fatal(err)
	}
	host := filepath.Join(dir, "host")
	if err := os.CopyFS(filepath.Join(host, "identity/broker"), os.DirFS(filepath.Join(dir, "identity/broker"))); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{dir, host} {
		broker := start(t, env, "broker", "--data", data, "--listen", "127.0.0.1:0", "--host", "new.example.org", "--host", "localhost")
		broker.err.await(t, `will refuse its certificate.* names=\[new\.example\.org\]`)
		broker.err.await(t, `broker is ready`)
		broker.ends(t, syscall.SIGTERM, 0)
	}
}

func TestKilledAgentLeavesNginxAndAdoptsItAgain(t *testing.T) {
	p := startParts(t, loopbackBlock(7))
	one, two := filepath.Join(p.dir, "one.yaml"), filepath.Join(p.dir, "two.yaml")
	write(t, one, site("site", "", 8080, "one"))
	write(t, two, site("site", "", 8080, "two"))
	fairlead(t, p.env, 0, "apply", "-f", one, "--wait")
	t.Cleanup(p.stopNginx)
	master := p.master()

	p.agent.ends(t, syscall.SIGKILL, -1)
	p.serves(8080, "one")
	p.startAgent()
	fairlead(t, p.env, 0, "apply", "-f", two, "--wait")
	p.serves(8080, "two")
	fairlead(t, p.env, 0, "reload", "ship1")
	if now := p.master(); now != master {
		t.Errorf("the agent started another nginx (%d) instead of adopting %d", now, master)
	}
}

// The agent of a host goes on as another node in the process that it is, and its
// nginx is the same.
func TestAnAgentGoesOnUnderAnotherNameInItsProcess(t *testing.T) {
	p := startParts(t, loopbackBlock(15))
	file := filepath.Join(p.dir, "site.yaml")
	write(t, file, site("site", "role=edge", 8080, "one"))
	fairlead(t, p.env, 0, "apply", "-f", file, "--wait")
	t.Cleanup(p.stopNginx)
	master := p.master()
	out, _ := fairlead(t, p.env, 0, "nodes", "rename", "ship1", "yard1", "--yes")
	if out != "renamed ship1 to yard1\n" {
		t.Errorf("it says:\n%s", out)
	}
	p.serves(8080, "one")
	if p.master() != master {
		t.Error("nginx was started anew")
	}
	p.agent.ends(t, syscall.SIGTERM, 0) // so it had not ended

	// Its files are where they were, and say who it is.
	n := filepath.Join(p.dir, "ship1")
	again := start(t, p.env, "agent", "--url", p.url, "--creds", p.creds("ship1"), "--trust", p.trust(),
		"--state", filepath.Join(n, "state"), "--run", filepath.Join(n, "run"), "--logs", filepath.Join(n, "logs"),
		"--nginx-conf", filepath.Join(n, "conf"), "--nginx-workers", "1", "--health-every", "1s")
	p.eventually(0, `^yard1 +online .*in sync +1 +role=edge$`, "nodes")
	write(t, file, site("site", "node=yard1", 8080, "two"))
	fairlead(t, p.env, 0, "apply", "-f", file, "--wait")
	p.serves(8080, "two")
	if p.master() != master {
		t.Error("nginx was started anew")
	}

	// Nobody is renamed who is away.
	again.ends(t, syscall.SIGTERM, 0)
	p.eventually(0, `^yard1 +offline`, "nodes")
	_, stderr := fairlead(t, p.env, 2, "nodes", "rename", "yard1", "ship1", "--yes")
	if !strings.Contains(stderr, "yard1 is offline, and only it can take another name") {
		t.Errorf("it says:\n%s", stderr)
	}
}
