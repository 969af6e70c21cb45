package nginx_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// wantBlame checks whom an error names as the owners of the fault.
func wantBlame(t *testing.T, err error, owners ...string) {
	t.Helper()
	var blame nginx.Blame
	if !errors.As(err, &blame) || !slices.Equal(blame.Owners(), owners) {
		t.Errorf("the error does not blame %v: %v", owners, err)
	}
}

func (n *node) listen(port int) string { return fmt.Sprintf("%s:%d", n.address, port) }

// with is a bundle with something done to one of its files.
func (n *node) with(path string, change func(string) string, resources ...fleet.Resource) nginx.Bundle {
	n.t.Helper()
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		n.t.Fatal(err)
	}
	files := slices.Clone(b.Files)
	i := slices.IndexFunc(files, func(f nginx.File) bool { return f.Path == path })
	files[i].Content = []byte(change(string(files[i].Content)))
	return nginx.NewBundle(files)
}

// The master of a generation that failed may tell of its last worker when it is
// back at the one before already.
func TestWorkersOfTheGenerationBeforeAreNotHeldAgainstARollback(t *testing.T) {
	bad := []string{"[notice] 1#1: reconfiguring", "[notice] 1#1: start worker process 5", "[notice] 1#1: start worker process 6",
		"[alert] 5#5: chdir(\"/closed\") failed", "[alert] 1#1: worker process 5 exited with fatal code 2 and cannot be respawned"}
	late := []string{"[notice] 1#1: reconfiguring", "[alert] 6#6: chdir(\"/closed\") failed",
		"[alert] 1#1: worker process 6 exited with fatal code 2 and cannot be respawned", "[notice] 1#1: start worker process 7"}
	if err := nginx.JudgedReload(bad, late); err != nil {
		t.Errorf("held against it: %v", err)
	}
	own := append(late, "[alert] 1#1: worker process 7 exited on signal 11")
	if err := nginx.JudgedReload(bad, own); err == nil || !strings.Contains(err.Error(), "process 7") {
		t.Errorf("its own worker: %v", err)
	}
}

func TestHostThatAnswersWithAnErrorOfNginxsOwnIsRolledBackAndNamed(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, site("web", port, "old"))
	loop := raw("loop", "server { listen "+n.listen(port)+"; server_name loop.example.org;\n"+
		"location / { root /nonexistent; try_files /a /b; } }")
	_, err := n.apply(2, site("web", port, "new"), loop)
	wantFailure(t, err, "ConfigFile/loop: loop.example.org on "+n.listen(port)+" answers 500", "rewrite or internal redirection cycle", "serves again")
	wantBlame(t, err, "ConfigFile/loop")
	if got := n.get(port, "web.example.org", "/"); got != "200 old" || n.status().Running != good.Digest {
		t.Errorf("after it: %q, %+v", got, n.status())
	}
	n.mustApply(3, site("web", port, "new"))
}

// What a configuration asks for is no fault of its revision, and neither is a
// server behind nginx that is down; that one is not even asked.
func TestErrorsThatAreMeantAreNoFault(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	behind, err := net.Listen("tcp", n.address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	asked := make(chan struct{}, 8)
	go func() {
		for {
			c, err := behind.Accept()
			if err != nil {
				return
			}
			c.Close()
			asked <- struct{}{}
		}
	}()
	v := n.mustApply(1,
		resource("closed", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"closed.example.org"},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 503, Text: "back at noon"}}}}),
		resource("proxied", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"*.proxied.example.org"},
			Locations: []fleet.Location{{Path: "/", Proxy: &fleet.Proxy{Upstream: "behind"}}}}),
		resource("behind", &fleet.Upstream{Servers: []fleet.Server{{Address: behind.Addr().String()}}}),
		raw("silent", "server { listen "+n.listen(port)+"; server_name silent.example.org; return 444; }"),
		raw("told", "server { listen "+n.listen(n.freePort())+" proxy_protocol; server_name told.example.org; return 200; }"),
		raw("regex", `server { listen `+n.listen(port)+`; server_name ~^r\d+$; return 204; }`),
	)
	if v.Probes != 5 { // with the default host, without the expression
		t.Errorf("%d probes", v.Probes)
	}
	if len(asked) != 0 {
		t.Error("a probe reached the server behind nginx")
	}
	if v := n.mustApply(2, site("web", port, "x")); v.Probes != 1 {
		t.Errorf("%d probes for one host that changed", v.Probes)
	}
}

func TestProbesOfPlainHostsShareConnections(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	const hosts = 120
	all := []fleet.Resource{
		raw("silent", "server { listen "+n.listen(port)+"; server_name silent.example.org; return 444; }"),
		raw("short", "server { listen "+n.listen(port)+"; server_name short.example.org; keepalive_timeout 0; return 204; }"),
		raw("long", "server { listen "+n.listen(port)+"; server_name long.example.org; location / { error_page 405 /long; proxy_pass http://127.0.0.1:1; } "+
			"location = /long { return 200 "+strings.Repeat("a", 4000)+"; } }"),
		raw("told", "server { listen "+n.listen(n.freePort())+" proxy_protocol; server_name told.example.org; return 200; }"),
	}
	for i := range hosts {
		all = append(all, site(fmt.Sprintf("web%d", i), port, "x"))
	}
	before := n.status().Counters
	v := n.mustApply(1, all...)
	if v.Probes != hosts+5 { // with the default host
		t.Errorf("%d probes", v.Probes)
	}
	if now := n.status().Counters; now.Accepted-before.Accepted > hosts/2 || now.Requests-before.Requests < hosts {
		t.Errorf("%d requests over %d connections", now.Requests-before.Requests, now.Accepted-before.Accepted)
	}
	// One that answers wrongly is named, whatever connection it shares.
	wrong := raw("wrong", "server { listen "+n.listen(port)+"; server_name wrong.example.org; location / { try_files /none /again; } }")
	_, err := n.apply(2, append(all[1:], wrong, site("more", port, "y"))...)
	wantFailure(t, err, "ConfigFile/wrong: wrong.example.org on "+n.listen(port)+" answers 500")
	wantBlame(t, err, "ConfigFile/wrong")
}

func TestHostThatAnswersWithAnotherCertificateIsRolledBackAndNamed(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	one, two := makeCertificate(t, n.cfg.State, "one"), makeCertificate(t, n.cfg.State, "two")
	secure := func(resource, name, files string) fleet.Resource {
		return raw(resource, "server { listen "+n.listen(port)+" ssl; server_name "+name+"; ssl_certificate "+files+".crt; ssl_certificate_key "+files+".key; return 200; }")
	}
	mine := secure("mine", "fairlead-probe.example.org", one)
	policy := resource("policy", &fleet.NodePolicy{Directories: []string{n.cfg.State}})
	if v := n.mustApply(1, policy, mine, secure("two", "two.example.org", two)); v.Probes != 2 {
		t.Errorf("%d probes", v.Probes)
	}
	// Another server takes the name from the one that is to answer to it.
	_, err := n.apply(2, policy, mine, secure("wild", "*.example.org", two))
	wantFailure(t, err, "ConfigFile/wild: fairlead-probe.example.org on "+n.listen(port)+" answers with the certificate of CN=one.example.org", "not with that of two.crt")
	wantBlame(t, err, "ConfigFile/wild")
	n.mustApply(3, policy, mine, secure("two", "two.example.net", two))
}

// makeCertificate writes a self-signed certificate and key, and returns their
// path without extension.
func makeCertificate(t *testing.T, dir, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name + ".example.org"},
		DNSNames: []string{name + ".example.org"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, name)
	for ext, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(base+ext, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func TestProbesAreNoTrafficOfCustomers(t *testing.T) {
	n := newNode(t)
	log := hearAccess(t, n)
	port := n.freePort()
	n.mustApply(1, site("web", port, "x"))
	if got := n.get(port, "web.example.org", "/asked"); got != "200 x" {
		t.Fatal(got)
	}
	if line := log.next(t); !strings.Contains(line, "/asked") {
		t.Errorf("the first line is %q", line)
	}
}

// accessLog is what nginx sends to the log forwarder's socket.
type accessLog struct{ conn *net.UnixConn }

func hearAccess(t *testing.T, n *node) accessLog {
	t.Helper()
	path := n.cfg.SyslogSocket()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return accessLog{conn}
}

func (l accessLog) next(t *testing.T) string {
	t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, 4096)
	size, err := l.conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:size])
}
