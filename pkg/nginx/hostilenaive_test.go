package nginx_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// What single inputs do to an nginx by itself, and to an engine.

// kills shows a test that dies, and a reload that kills the master: its
// workers go on without one and hold the port, so that nothing can be started.
func kills(b *bare) {
	b.put("include DIR/conf.d/bad.conf;")
	if r, err := b.check(); err != nil || r.Signal == "" {
		b.t.Errorf("nginx -t ends with %d and %q, %v", r.ExitCode, r.Stderr, err)
	}
	b.hup()
	ctx, cancel := within(bareTime)
	defer cancel()
	if err := b.master.Wait(ctx); err != nil {
		b.t.Fatal(err)
	}
	b.answers("200 old")
	if l, err := net.Listen("tcp", b.listen(b.port)); err == nil {
		l.Close()
		b.t.Error("nobody holds the port")
	}
}

// wedges shows a test that does not end, and a master that hears nothing after a reload.
func wedges(b *bare) {
	must(b.t, syscall.Mkfifo(filepath.Join(b.dir, "fifo"), 0o600))
	b.put("include DIR/fifo;")
	b.wantStuckAt("fifo")
	b.hup()
	eventually(b.t, "the master is deaf", func() bool {
		a, err := host.ReadActivity(b.master.PID)
		return err == nil && a.Blocks(syscall.SIGHUP) && a.Blocks(syscall.SIGTERM)
	})
}

// stealsKey shows a site that is served with the key of another one, which
// root alone may read, by its own path or through a link.
func stealsKey(key string) func(*bare) {
	return func(b *bare) {
		pair := certtest.New(b.t).Issue("bank.example.org")
		pair.Write(b.t, b.dir, "private.crt", "private.key")
		must(b.t, os.Symlink("private.key", filepath.Join(b.dir, "link.key")))
		b.put("server { listen ADDRESS:PORT0 ssl; ssl_certificate DIR/private.crt; ssl_certificate_key DIR/" + key + "; return 204; }")
		b.wantTaken()
		if leaf := b.leaf(); leaf.VerifyHostname("bank.example.org") != nil {
			b.t.Errorf("the certificate is of %v", leaf.DNSNames)
		}
	}
}

// leaf is what the server on PORT0 shows.
func (b *bare) leaf() *x509.Certificate {
	b.t.Helper()
	conn, err := tls.Dial("tcp", b.filled("ADDRESS:PORT0"), &tls.Config{ServerName: "tls.example.org", InsecureSkipVerify: true})
	must(b.t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// library is any.so, which touches "ran" as it is loaded.
func (b *bare) library() {
	b.t.Helper()
	b.write("any.c", `#include <fcntl.h>
__attribute__((constructor)) static void run(void) { open("DIR/ran", O_CREAT|O_WRONLY, 0600); }
`)
	r, err := host.Run(b.t.Context(), host.Command{Path: "sh", Args: []string{"-c", "$(go env CC) -shared -fPIC -o any.so any.c"}, Dir: b.dir})
	if err != nil || r.ExitCode != 0 {
		b.t.Fatalf("a C compiler is needed: %v %s", err, r.Stderr)
	}
}

// ranAsRoot checks that nginx made the file "ran", with the rights that it was started with.
func (b *bare) ranAsRoot() {
	b.t.Helper()
	info, err := os.Stat(filepath.Join(b.dir, "ran"))
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		b.t.Errorf("nothing ran as root: %v", err)
	}
}

// module has nginx load modules of packages.
func (b *bare) module(names ...string) {
	b.t.Helper()
	dir, err := nginx.ModuleDir(b.t.Context())
	must(b.t, err)
	for _, name := range names {
		path := filepath.Join(dir, name+"_module.so")
		if _, err := os.Stat(path); err != nil {
			b.t.Fatalf("the package of %s is needed, see Taskfile.yml: %v", name, err)
		}
		b.main("events", "load_module "+path+";\nevents")
	}
}

// hands checks what anybody gets from app.example.org.
func (b *bare) hands(part string) {
	b.t.Helper()
	if got := b.get(b.port, "app.example.org", "/"); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, part) {
		b.t.Errorf("anybody gets %.100q, want %q in it", got, part)
	}
}

// givesAway shows a directory of root's that belongs to the workers after
// nginx -t. Without root there is nothing to give.
func givesAway(b *bare) {
	given := filepath.Join(b.dir, "given")
	must(b.t, os.Mkdir(given, 0o700))
	b.put("server { listen ADDRESS:1; client_body_temp_path DIR/given; }")
	b.wantSilent()
	info, err := os.Stat(given)
	must(b.t, err)
	if os.Geteuid() == 0 && info.Sys().(*syscall.Stat_t).Uid == 0 {
		b.t.Error("it is root's still")
	}
}

// steals shows a warning, and a name that is answered by whose file comes first.
func steals(b *bare) {
	b.write("conf.d/a.conf", "server { listen ADDRESS:PORT; server_name web.example.org; return 200 stolen; }")
	if r, err := b.check(); err != nil || r.ExitCode != 0 {
		b.t.Errorf("nginx -t exits with %d and %q, %v", r.ExitCode, r.Stderr, err)
	}
	b.reload()
	b.answers("200 stolen")
}

// waitsForDNS shows a test that waits for a server that does not answer, and a
// reload would. It needs a mount of the test's own, and port 53, so root.
func waitsForDNS(b *bare) {
	if os.Geteuid() != 0 {
		return
	}
	silent, err := net.ListenPacket("udp", b.address+":53")
	must(b.t, err)
	defer silent.Close()
	b.write("resolv.conf", "nameserver ADDRESS\n")
	b.put("server { listen ADDRESS:1; location / { proxy_pass http://app.example.org; } }")
	script := b.filled("mount --bind DIR/resolv.conf /etc/resolv.conf && exec nginx " + strings.Join(b.arguments("-t", "-q"), " "))
	must(b.t, silent.SetReadDeadline(time.Now().Add(bareTime)))
	b.wantStuck(host.Command{Path: "unshare", Args: []string{"--mount", "sh", "-c", script}}, func() bool {
		question := make([]byte, 512)
		size, _, err := silent.ReadFrom(question)
		must(b.t, err)
		return strings.Contains(string(question[:size]), "\x03app\x07example\x03org")
	})
}

// servesTLS is the input of a server with a certificate of the naive nginx's own.
const servesTLS = "server { listen ADDRESS:PORT0 ssl; server_name tls.example.org; ssl_certificate DIR/c.crt; ssl_certificate_key DIR/c.key; return 204; }"

func refusesPair(chain, key certtest.Pair, says string) func(*bare) {
	return func(b *bare) {
		certtest.Pair{Chain: chain.Chain, Key: key.Key}.Write(b.t, b.dir, "c.crt", "c.key")
		b.put(servesTLS)
		b.wantRefused(says)
	}
}

// servesPair shows a certificate that no client takes, and that nginx does.
func servesPair(p certtest.Pair, useless func(*x509.Certificate) bool) func(*bare) {
	return func(b *bare) {
		p.Write(b.t, b.dir, "c.crt", "c.key")
		b.put(servesTLS)
		b.wantTaken()
		if !useless(b.leaf()) {
			b.t.Error("the certificate is a good one")
		}
	}
}

// encryptedKey says of itself that it is encrypted, which is all that is read of it.
var encryptedKey = []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\nMIIB\n-----END RSA PRIVATE KEY-----\n")

// asksForPassword shows a test that waits for somebody to type, on a terminal
// that script(1) gives it.
func asksForPassword(p certtest.Pair) func(*bare) {
	return func(b *bare) {
		certtest.Pair{Chain: p.Chain, Key: encryptedKey}.Write(b.t, b.dir, "c.crt", "c.key")
		b.put(servesTLS)
		said := filepath.Join(b.dir, "typescript")
		b.wantStuck(host.Command{Path: "script", Args: []string{"-qefc", "nginx " + strings.Join(b.arguments("-t", "-q"), " "), said}},
			func() bool { return hasText(said, "Enter PEM pass phrase:") })
	}
}

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

// pairOf is tls.example.org with a certificate, and a key that may be another's.
func pairOf(n *node, p, key certtest.Pair) []fleet.Resource {
	c := certificate("c", p)
	c.Spec.(*fleet.Certificate).SealedKey = sealForTest(key.Key)
	return []fleet.Resource{c, resource("tls", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: 1, TLS: true}}, ServerNames: []string{"tls.example.org"},
		TLS: &fleet.TLS{Certificate: "c"}, Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 204}}}})}
}

// peak is the most memory that the master ever had.
func (b *bare) peak() int {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.master.PID))
	must(b.t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	must(b.t, err)
	return kB << 10
}

// runtime is a service on DIR/docker.sock that tells all to whoever asks.
func (b *bare) runtime() {
	b.t.Helper()
	path := filepath.Join(b.dir, "docker.sock")
	l, err := net.Listen("unix", path)
	must(b.t, err)
	must(b.t, os.Chmod(path, 0o666))
	b.t.Cleanup(func() { l.Close() })
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all containers") }))
	}()
}

// comesBack kills nginx, which leaves the file of its socket.
func comesBack(socket string) func(*node, uint64) string {
	return func(n *node, revision uint64) string {
		dead := n.status().PID
		must(n.t, syscall.Kill(dead, syscall.SIGKILL)) // no handle of the test's own, which would reap it
		n.wantEvent(nginx.EventRecovered, strconv.Itoa(dead), "was killed by SIGKILL")
		conn, err := net.Dial("unix", socket)
		must(n.t, err)
		conn.Close()
		return n.status().Recovery.What
	}
}

// halfWritten leaves what an agent leaves that is killed as it writes a
// version, and what somebody leaves who edits one, and tells nginx to reload
// as logrotate and certbot do.
func halfWritten(n *node, revision uint64) string {
	n.looked()
	half := filepath.Join(n.cfg.State, "versions", fmt.Sprintf("%d-%012x", revision+1, 0))
	must(n.t, os.Mkdir(half, 0o700))
	for _, dir := range []string{half, filepath.Join(n.version(), "http.d")} {
		must(n.t, os.WriteFile(filepath.Join(dir, "half.conf"), []byte("server { listen 1"), 0o600))
	}
	hangUp(n.t, n.status().PID)
	n.wantEvent(nginx.EventReloaded, "told nginx to reload")
	n.wantEvent(nginx.EventHealed, "http.d/half.conf (extra)")
	return "told nginx to reload" // as the event says
}
