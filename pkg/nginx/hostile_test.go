package nginx_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Inputs that hurt an nginx that is given them as they are. Each is given to
// nginx -t by itself where that shows the harm, and then to an engine whose
// nginx serves: the input is refused with a plain reason, the same processes go
// on serving what they did, and the next good change works.
//
// Upstreams that do not resolve, certificates, stale sockets and foreign
// reloads have tests of their own beside the code that cares for them.
func TestHostileInputsHurtNothing(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	web := func(text string) fleet.Resource { return site("web", port, text) }
	n.mustConverge(1, web("1"))
	dir := filepath.Dir(n.cfg.State)
	declared := resource("p", &fleet.NodePolicy{Directories: []string{dir}})
	secret := filepath.Join(dir, "secret")
	write(t, secret, "hunter2 is the password;\n")
	taken, err := net.Listen("tcp", n.address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server := func(directives string) fleet.Resource {
		return raw("bad", "server { listen "+n.address+":1; "+directives+" }")
	}
	revision := uint64(1)
	for _, row := range []struct {
		name  string
		naive string                              // a configuration for nginx itself, "" where there is nothing to show
		harm  func(r host.Result, err error) bool // what it does with that
		bad   []fleet.Resource
		held  string // "" is that the last good version serves as a whole
		says  string
	}{
		{"1 byte order mark", "\xef\xbb\xbfevents { }", says("unknown directive"), []fleet.Resource{raw("bad", "\xef\xbb\xbfgzip on;")}, "ConfigFile/bad", "byte order mark"},
		{"1 UTF-16", "\xff\xfee\x00v\x00", says("unexpected end"), []fleet.Resource{raw("bad", "\xff\xfeg\x00z\x00")}, "ConfigFile/bad", "is UTF-16"},
		{"1 NUL", "", nil, []fleet.Resource{raw("bad", "gzip on;\x00")}, "ConfigFile/bad", "NUL byte"},
		{"1 binary", "", nil, []fleet.Resource{raw("bad", "\x7fELF\x01\xb0\xff")}, "ConfigFile/bad", "not valid UTF-8"},
		{"2 a file that includes itself", "include SELF;", died, []fleet.Resource{raw("bad", "include http.d/configfile-bad.conf;")}, "ConfigFile/bad", `"include" reads another file`},
		{"3 include of a FIFO", "include FIFO;", hung, []fleet.Resource{raw("bad", "include "+dir+"/fifo;")}, "ConfigFile/bad", `"include" reads another file`},
		{"3 include of a device", "", nil, []fleet.Resource{raw("bad", "include /dev/zero;")}, "ConfigFile/bad", `"include" reads another file`},
		{"3 certificate that is a FIFO", "", nil, []fleet.Resource{declared, server("ssl_certificate " + dir + "/fifo; ssl_certificate_key " + dir + "/fifo;")},
			"ConfigFile/bad", "is a FIFO, not a regular file"},
		{"4 include that leaves the version", "include " + secret + ";", says("hunter2"), []fleet.Resource{raw("bad", "include "+secret+";")}, "ConfigFile/bad", `"include" reads another file`},
		{"4 certificate that leaves the version", "", nil, []fleet.Resource{server("ssl_certificate " + secret + "; ssl_certificate_key " + secret + ";")}, "ConfigFile/bad", "lies in no directory"},
		{"4 symbolic link that leads out", "", nil, []fleet.Resource{declared, server("ssl_certificate " + dir + "/link; ssl_certificate_key " + dir + "/link;")},
			"ConfigFile/bad", "leads out of"},
		{"5 include of nothing", "include /no/such/*.conf; events { }", fine, []fleet.Resource{raw("bad", "include /no/such/*.conf;")}, "ConfigFile/bad", `"include" reads another file`},
		{"6 library of anybody", "", nil, []fleet.Resource{raw("bad", "load_module "+secret+";")}, "ConfigFile/bad", "spec.modules"},
		{"7 Perl", "", nil, []fleet.Resource{server("location / { perl 'sub { }'; }")}, "ConfigFile/bad", "needs ngx_http_perl_module, which is off"},
		{"7 Lua", "", nil, []fleet.Resource{server("location / { content_by_lua_block { os.execute('x') } }")}, "ConfigFile/bad", "needs ngx_http_lua_module, which is off"},
		{"7 njs", "", nil, []fleet.Resource{raw("bad", "js_import x.js;")}, "ConfigFile/bad", "js_module"},
		{"8 temporary files", "pid /dev/null; events { } http { client_body_temp_path DIR/given; }", gives, []fleet.Resource{raw("bad", "client_body_temp_path "+dir+"/given;")}, "ConfigFile/bad", "as root"},
		{"8 log", "", nil, []fleet.Resource{raw("bad", "error_log /etc/cron.d/x;")}, "ConfigFile/bad", "lies in no directory"},
		{"9 the same name twice", "", nil, []fleet.Resource{resource("web2", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"web.example.org"},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 204}}}})}, "VirtualHost/web2", "VirtualHost/web answers to web.example.org"},
		{"9 the same name in raw configuration", "", nil, []fleet.Resource{raw("bad", fmt.Sprintf("server { listen %s:%d; server_name web.example.org; }", n.address, port))},
			"ConfigFile/bad", "conflicting server name"},
		{"10 a name that does not resolve", "", nil, []fleet.Resource{server("location / { proxy_pass http://no-such-name.invalid; }")}, "ConfigFile/bad", "no-such-name.invalid does not resolve here"},
		{"13 port of another", "", nil, []fleet.Resource{site("other", taken.Addr().(*net.TCPAddr).Port, "x")}, "VirtualHost/other", "which process " + strconv.Itoa(os.Getpid())},
		{"13 address of another node", "", nil, []fleet.Resource{resource("far", &fleet.VirtualHost{Listen: []fleet.Listen{{Address: "192.0.2.9", Port: 80}}, ServerNames: []string{"far"},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 204}}}})}, "VirtualHost/far", "this node has no such address"},
		{"16 a name that is syntax", "", nil, []fleet.Resource{resource("evil", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"a.com; } server {"},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 204}}}})}, "VirtualHost/evil", "spec.serverNames[0]"},
		{"17 an expression that explodes", "", nil, []fleet.Resource{server("location ~ ^(a+)+$ { return 204; }")}, "ConfigFile/bad", "exponentially long"},
		{"17 a hundred thousand workers", "", nil, []fleet.Resource{raw("bad", "worker_processes 100000;")}, "ConfigFile/bad", "a setting of the whole nginx"},
		{"18 the socket of a container runtime", "", nil, []fleet.Resource{server("location / { proxy_pass http://unix:/run/docker.sock:/; }")}, "ConfigFile/bad", "can do anything on the node"},
		{"18 a metadata address", "", nil, []fleet.Resource{server("location / { proxy_pass http://169.254.169.254/; }")}, "ConfigFile/bad", "link-local"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.naive != "" {
				if r, err := naively(t, row.naive); !row.harm(r, err) {
					t.Errorf("nginx by itself is not hurt: %+v, %s, %v", r.Signal, r.Stderr, err)
				}
			}
			if strings.HasPrefix(row.name, "3") {
				_ = syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600) // once is enough
			}
			if strings.Contains(row.name, "symbolic") {
				if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the old workers are gone", func() bool {
				s := n.status()
				return s.Up && s.Draining == 0 && len(strings.Fields(n.workers())) == n.cfg.Workers
			})
			before, pid := n.workers(), n.status().PID
			revision++
			answers := n.get(port, "web.example.org", "/")
			o := n.mustConverge(revision, append(row.bad, web(strings.TrimPrefix(answers, "200 ")))...)
			if got := o.Held(); len(got) != 1 || got[0].Resource != row.held || !strings.Contains(got[0].Message, row.says) || strings.Contains(o.Summary(), "hunter2") {
				t.Errorf("held %v, want %s with %q", got, row.held, row.says)
			}
			if n.status().PID != pid || len(row.bad) == 1 && n.workers() != before {
				t.Errorf("master %d, workers %s; before %d, %s", n.status().PID, n.workers(), pid, before)
			}
			revision++
			text := strconv.FormatUint(revision, 10)
			if o := n.mustConverge(revision, web(text)); !o.Whole() || n.get(port, "web.example.org", "/") != "200 "+text {
				t.Errorf("the next good change: %s", o.Summary())
			}
		})
	}
}

func TestMoreServersThanMemoryHasRoomForAreRefused(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, site("web", port, "old"))
	before := n.workers()
	n.SetMemory(300 << 20)
	content := strings.Repeat("server { listen "+n.listen(port)+"; }\n", 10_000)
	_, err := n.apply(2, site("web", port, "new"), raw("many", content))
	wantFailure(t, err, "10002 servers", "and this node has 300 MB left", "select fewer resources")
	n.wantUntouched(port, good.Digest, before)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// naively has nginx -t read a configuration in a directory of its own, which
// SELF, FIFO and DIR stand for.
func naively(t *testing.T, text string) (host.Result, error) {
	t.Helper()
	dir := t.TempDir()
	conf, fifo := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, conf, strings.NewReplacer("SELF", conf, "FIFO", fifo, "DIR", dir).Replace(text))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := host.Run(ctx, host.Command{Path: "nginx", Args: []string{"-t", "-p", dir, "-c", conf, "-e", "stderr"}})
	if info, serr := os.Stat(filepath.Join(dir, "given")); serr == nil {
		r.Stderr = fmt.Appendf(r.Stderr, "given to %d", info.Sys().(*syscall.Stat_t).Uid)
	}
	return r, err
}

func says(text string) func(host.Result, error) bool {
	return func(r host.Result, _ error) bool { return strings.Contains(string(r.Stderr), text) }
}

func died(r host.Result, _ error) bool { return r.Signal != "" }

func hung(_ host.Result, err error) bool { return err != nil }

func fine(r host.Result, err error) bool { return err == nil && r.ExitCode == 0 }

// gives says that a directory was made, which belongs to the workers where nginx is root's.
func gives(r host.Result, _ error) bool { return strings.Contains(string(r.Stderr), "given to ") }
