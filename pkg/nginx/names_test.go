package nginx_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/fleet"
)

func TestNamesAreResolvedByTheAgentToAllTheirAddresses(t *testing.T) {
	n := newNode(t)
	dns := newDNS(t, n.address)
	one := newBackend(t, n.address, "one")
	port := n.freePort()
	dns.set("app.example.org.", n.address, "127.0.0.1")
	v := n.mustApply(1, proxied("web", port, "app"), n.named("app", one), dns.policy())
	text := n.upstreamText("app")
	for _, address := range []string{n.address, "127.0.0.1"} {
		if !strings.Contains(text, "server "+address+":"+one.port()+"; # app.example.org") {
			t.Errorf("%s is not in\n%s", address, text)
		}
	}
	if got := n.servedBy(port, 4); got != "one" || len(v.Notes) > 0 {
		t.Errorf("served by %q, notes %v", got, v.Notes)
	}
}

func TestNameWithoutAddressHarmsItsOwnServerAlone(t *testing.T) {
	n := newNode(t)
	dns := newDNS(t, n.address)
	one := newBackend(t, n.address, "one")
	port, other := n.freePort(), n.freePort()
	v := n.mustApply(1, proxied("web", port, "app"), n.named("app", one), site("other", other, "unharmed"), dns.policy())
	if len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "Upstream/app: app.example.org:"+one.port()+": left out: app.example.org has no address: no such host") {
		t.Errorf("the answer says %q", v.Notes)
	}
	if got := n.serverStates(); got != "app app.example.org:"+one.port()+" unknown" {
		t.Errorf("status says %q", got)
	}
	if got := n.get(port, "web.example.org", "/"); !strings.HasPrefix(got, "502 ") {
		t.Errorf("the host answers %q", got)
	}
	if got := n.get(other, "other.example.org", "/"); got != "200 unharmed" {
		t.Errorf("another host answers %q", got)
	}
	dns.set("app.example.org.", n.address)
	n.ResolveNow()
	eventually(t, "it serves once its name resolves", func() bool { return n.servedBy(port, 1) == "one" })
	if s := n.status(); s.Running != v.Digest || len(s.Servers) > 0 {
		t.Errorf("%+v", s)
	}
}

func TestBackupsServeWhereNoOtherNameResolves(t *testing.T) {
	n := newNode(t)
	dns, one, port := newDNS(t, n.address), newBackend(t, n.address, "backup"), n.freePort()
	n.mustApply(1, proxied("web", port, "app"), dns.policy(), resource("app", &fleet.Upstream{
		Servers: []fleet.Server{{Address: "none.example.org:80"}, {Address: one.address, Backup: true}}}))
	if got := n.servedBy(port, 2); got != "backup" {
		t.Errorf("served by %q", got)
	}
}

func TestChangedAddressesAreFollowedAndLastGoodOnesKept(t *testing.T) {
	n := newNode(t)
	dns := newDNS(t, n.address)
	one := newBackend(t, n.address, "one")
	newBackendAt(t, "127.0.0.1:"+one.port(), "two")
	port := n.freePort()
	dns.set("app.example.org.", n.address)
	n.mustApply(1, proxied("web", port, "app"), n.named("app", one), dns.policy())
	dns.set("app.example.org.", "127.0.0.1")
	n.ResolveNow()
	eventually(t, "the new address serves", func() bool { return n.servedBy(port, 3) == "two" })

	dns.set("app.example.org.") // the name is gone
	n.ResolveNow()
	eventually(t, "status says so", func() bool { return strings.HasSuffix(n.serverStates(), " stale") })
	dns.close()
	n.crash()
	n.start()
	if got := n.servedBy(port, 3); got != "two" {
		t.Errorf("after a restart without DNS it is served by %q", got)
	}
	v, err := n.apply(2, proxied("web", port, "app"), n.named("app", one), dns.policy(), site("more", n.freePort(), "x"))
	if err != nil || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "used with the last good addresses: ") || n.servedBy(port, 3) != "two" {
		t.Errorf("a change without DNS: %+v, %v, served by %q", v, err, n.servedBy(port, 3))
	}
}

func TestSlowDNSDoesNotHoldUpAChange(t *testing.T) {
	n := newNode(t)
	dns := newDNS(t, n.address)
	dns.silent()
	port := n.freePort()
	resources := []fleet.Resource{site("web", port, "hello"), dns.policy()}
	for i := range 40 {
		name := fmt.Sprintf("app%d", i)
		resources = append(resources, proxied(name, port, name), resource(name, &fleet.Upstream{Servers: []fleet.Server{{Address: name + ".example.org:80"}}}))
	}
	began := time.Now()
	v := n.mustApply(1, resources...)
	if took := time.Since(began); took > 6*time.Second || len(v.Notes) != 6 || v.Notes[5] != "and 35 servers more" || !strings.Contains(v.Notes[0], "no answer within 2s") {
		t.Errorf("took %v, notes %q", took, v.Notes[0])
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Errorf("got %q", got)
	}
}

func TestASecondResolverAnswersWhereTheFirstIsSilent(t *testing.T) {
	n := newNode(t)
	silent, dns := newDNS(t, n.address), newDNS(t, n.address)
	silent.silent()
	one, port := newBackend(t, n.address, "one"), n.freePort()
	dns.set("app.example.org.", n.address)
	policy := resource("policy", &fleet.NodePolicy{Resolvers: []string{silent.address, dns.address}})
	if v := n.mustApply(1, proxied("web", port, "app"), n.named("app", one), policy); len(v.Notes) > 0 || n.servedBy(port, 2) != "one" {
		t.Errorf("notes %v", v.Notes)
	}
}

func TestAddressesThatThePolicyDeniesAreLeftOut(t *testing.T) {
	n := newNode(t)
	dns := newDNS(t, n.address)
	one, port := newBackend(t, n.address, "one"), n.freePort()
	dns.set("app.example.org.", n.address, "169.254.169.254")
	v := n.mustApply(1, proxied("web", port, "app"), n.named("app", one), dns.policy())
	if len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "app.example.org: the node's policy denies upstreams at 169.254.0.0/16: 169.254.169.254 is in it") {
		t.Errorf("notes %q", v.Notes)
	}
	if text := n.upstreamText("app"); strings.Contains(text, "server 169.254") || n.servedBy(port, 4) != "one" {
		t.Errorf("served by %q from\n%s", n.servedBy(port, 4), text)
	}
}

func TestSocketThatLeadsToAContainerRuntimeIsLeftOut(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	for _, err := range []error{os.WriteFile(filepath.Join(dir, "docker.sock"), nil, 0o600), os.Symlink("docker.sock", filepath.Join(dir, "app.sock"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	v := n.mustApply(1, proxied("web", n.freePort(), "app"), serversAt("app", "unix:"+filepath.Join(dir, "app.sock")))
	if len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "denies sockets of container runtimes") || strings.Contains(n.upstreamText("app"), "server unix") {
		t.Errorf("notes %q, text\n%s", v.Notes, n.upstreamText("app"))
	}
}

// named is an upstream whose one server is app.example.org at the port of a backend.
func (n *node) named(name string, b *backend) fleet.Resource {
	return serversAt(name, "app.example.org:"+b.port())
}

func (b *backend) port() string {
	_, port, _ := net.SplitHostPort(b.address)
	return port
}

// dnsServer answers A questions, from a table that a test changes. A name that
// is not in it does not exist.
type dnsServer struct {
	address string
	conn    net.PacketConn
	mu      sync.Mutex
	table   map[string][]string
	quiet   bool
}

func newDNS(t *testing.T, address string) *dnsServer {
	t.Helper()
	c, err := net.ListenPacket("udp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dnsServer{address: c.LocalAddr().String(), conn: c, table: map[string][]string{}}
	t.Cleanup(d.close)
	go func() {
		question := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(question)
			if err != nil {
				return
			}
			if reply := d.reply(question[:size]); reply != nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	return d
}

func (d *dnsServer) close() { d.conn.Close() }

// silent makes it answer nothing, as a resolver behind a lost link.
func (d *dnsServer) silent() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet = true
}

// set gives a name, that ends in a dot, other addresses; none at all removes it.
func (d *dnsServer) set(name string, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table[name] = addresses
}

// policy has the node ask this server.
func (d *dnsServer) policy() fleet.Resource {
	return resource("policy", &fleet.NodePolicy{Resolvers: []string{d.address}})
}

// reply is RFC 1035, section 4: header, the question as it came, answers that
// point back at its name.
func (d *dnsServer) reply(q []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.quiet || len(q) < 12 {
		return nil
	}
	name, at := "", 12
	for at < len(q) && q[at] != 0 {
		name += string(q[at+1:at+1+int(q[at])]) + "."
		at += 1 + int(q[at])
	}
	end := at + 5
	kind := binary.BigEndian.Uint16(q[at+1:])
	addresses := d.table[strings.ToLower(name)]
	reply := append([]byte{q[0], q[1], 0x84, 0x00, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
	if len(addresses) == 0 {
		reply[3] = 3 // no such name
		return reply
	}
	for _, a := range addresses {
		ip := netip.MustParseAddr(a)
		if want := map[bool]uint16{true: 1, false: 28}[ip.Is4()]; kind != want {
			continue
		}
		reply[7]++
		reply = append(reply, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(ip.AsSlice())))
		reply = append(reply, ip.AsSlice()...)
	}
	return reply
}
