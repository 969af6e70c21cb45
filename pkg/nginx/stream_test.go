package nginx_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestStreamsPassConnectionsAndDatagrams(t *testing.T) {
	n := newNode(t)
	back := lineServer(t, n.address, "tcp")
	udp := datagramServer(t, n.address)
	tcpPort, udpPort := n.freePort(), n.freePort()
	n.mustApply(1,
		streamOf("db", &fleet.Stream{Listen: []fleet.StreamListen{{Port: tcpPort}}, Upstream: "db", SendProxyProtocol: true, ConnectTimeout: "1s", IdleTimeout: "5s"}),
		streamOf("dns", &fleet.Stream{Listen: []fleet.StreamListen{{Port: udpPort}}, Upstream: "dns", Protocol: "udp", Responses: 1}),
		serversAt("db", back), serversAt("dns", udp))
	if got := n.sayLine(t, tcpPort, "hello\n"); !strings.HasPrefix(got, "tcp got PROXY TCP4 127.0.0.1 "+n.address+" ") {
		t.Errorf("the connection answers %q", got)
	}
	c, err := net.Dial("udp", net.JoinHostPort(n.address, strconv.Itoa(udpPort)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 100)
	fmt.Fprint(c, "query")
	size, err := c.Read(answer)
	if string(answer[:size]) != "udp got query" {
		t.Errorf("the datagram is answered %q, %v", answer[:size], err)
	}
}

func TestStreamsTakeTheProxyHeaderInFront(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, streamOf("db", &fleet.Stream{Listen: []fleet.StreamListen{{Port: port}}, Upstream: "db", AcceptProxyProtocol: true}),
		serversAt("db", lineServer(t, n.address, "tcp")))
	if got := n.sayLine(t, port, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello\n"); got != "tcp got hello" {
		t.Errorf("got %q", got)
	}
}

func TestStreamsRouteByTheNameThatTLSAsksFor(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	listen := []fleet.StreamListen{{Port: port}}
	routed := &fleet.Stream{Listen: listen, Routes: map[string]string{"a.example.org": "a", "*.tenant.example.org": "b", "default": "b"}}
	group := []fleet.Resource{serversAt("a", tlsServer(t, n.address, "a")), serversAt("b", tlsServer(t, n.address, "b"))}
	n.mustApply(1, append(group, streamOf("by-name_1", routed))...)
	for name, want := range map[string]string{"a.example.org": "a", "A.EXAMPLE.ORG": "a", "x.tenant.example.org": "b", "default": "b", "other.example.org": ""} {
		if got := n.askTLS(port, name); got != want {
			t.Errorf("%s is answered by %q, want %q", name, got, want)
		}
	}
	routed.Otherwise = "a"
	n.mustApply(2, append(group, streamOf("by-name_1", routed))...)
	if got := n.askTLS(port, "other.example.org"); got != "a" {
		t.Errorf("what no route is for is answered by %q", got)
	}
}

func TestPortsThatTwoWantAreFoundBeforeRendering(t *testing.T) {
	db := serversAt("db", "127.0.0.1:1")
	at := func(address string, port int, protocol string) *fleet.Stream {
		return &fleet.Stream{Listen: []fleet.StreamListen{{Address: address, Port: port}}, Protocol: protocol, Upstream: "db"}
	}
	for name, c := range map[string]struct {
		resources []fleet.Resource
		want      string
	}{
		"host, same address":   {[]fleet.Resource{site("web", 80, "x"), streamOf("s", at("", 80, ""))}, "Stream/s: spec.listen[0]: VirtualHost/web listens on 0.0.0.0:80 already"},
		"host, one of all":     {[]fleet.Resource{site("web", 80, "x"), streamOf("s", at("192.0.2.1", 80, ""))}, "Stream/s: spec.listen[0]: VirtualHost/web listens on 0.0.0.0:80 already"},
		"two streams":          {[]fleet.Resource{streamOf("r", at("192.0.2.1", 80, "")), streamOf("s", at("192.0.2.1", 80, "tcp"))}, "Stream/s: spec.listen[0]: Stream/r listens on 192.0.2.1:80 already"},
		"streams, one of all":  {[]fleet.Resource{streamOf("r", at("", 80, "")), streamOf("s", at("192.0.2.1", 80, ""))}, ""},
		"other protocol":       {[]fleet.Resource{site("web", 80, "x"), streamOf("s", at("", 80, "udp"))}, ""},
		"two UDP streams":      {[]fleet.Resource{streamOf("r", at("", 53, "udp")), streamOf("s", at("", 53, "udp"))}, "Stream/s: spec.listen[0]: Stream/r listens on 0.0.0.0:53 already"},
		"other port":           {[]fleet.Resource{site("web", 80, "x"), streamOf("s", at("", 81, ""))}, ""},
		"strategy of HTTP":     {[]fleet.Resource{streamOf("s", &fleet.Stream{Listen: []fleet.StreamListen{{Port: 1}}, Upstream: "h"}), resource("h", &fleet.Upstream{Strategy: "ipHash", Servers: []fleet.Server{{Address: "127.0.0.1:1"}}})}, "Stream/s: spec.upstream: Upstream/h chooses by what only HTTP has: give it strategy hash with hash: {by: client}"},
		"upstream that is not": {[]fleet.Resource{streamOf("s", &fleet.Stream{Listen: []fleet.StreamListen{{Port: 1}}, Routes: map[string]string{"a.b": "none"}})}, "Stream/s: spec.routes.a.b: there is no Upstream/none"},
	} {
		_, err := nginx.Render("", append(c.resources, db))
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
	}
}

func streamOf(name string, s *fleet.Stream) fleet.Resource { return resource(name, s) }

// serversAt is an upstream of these addresses.
func serversAt(name string, addresses ...string) fleet.Resource {
	u := &fleet.Upstream{}
	for _, a := range addresses {
		u.Servers = append(u.Servers, fleet.Server{Address: a})
	}
	return resource(name, u)
}

// sayLine sends a text to a port and reads one line.
func (n *node) sayLine(t *testing.T, port int, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort(n.address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, text)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// askTLS is what the server says that TLS leads to, "" where none does.
func (n *node) askTLS(port int, name string) string {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	c, err := tls.DialWithDialer(dialer, "tcp", net.JoinHostPort(n.address, strconv.Itoa(port)), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return ""
	}
	defer c.Close()
	text, _ := io.ReadAll(c)
	return string(text)
}

// lineServer answers the first line of each connection with itself.
func lineServer(t *testing.T, address, name string) string {
	l := listenAt(t, address)
	go serveConns(l, func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Fprintf(c, "%s got %s\n", name, strings.TrimSpace(line))
	})
	return l.Addr().String()
}

// tlsServer says its name to whoever speaks TLS to it.
func tlsServer(t *testing.T, address, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l := listenAt(t, address)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	go serveConns(tls.NewListener(l, config), func(c net.Conn) { fmt.Fprint(c, name) })
	return l.Addr().String()
}

func datagramServer(t *testing.T, address string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte("udp got "), bytes.TrimSpace(b[:size])...), from)
		}
	}()
	return c.LocalAddr().String()
}

func listenAt(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func serveConns(l net.Listener, handle func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			handle(c)
		}()
	}
}
