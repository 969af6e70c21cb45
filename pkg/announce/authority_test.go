package announce_test

import (
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/announce"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// member is a station, a node or a person on a host of its own: it was handed
// its files once, and nobody touches them again.
type member struct {
	ca    string
	trust func() *message.TrustKeeper // while it runs
}

func (s *site) host(ca []byte) bus.TLS {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return bus.TLS{CA: path}
}

func (s *site) trusts() message.Message {
	s.t.Helper()
	m, err := s.au.TrustSet()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *site) agent(name string, tls bus.TLS, trust message.Message) *agent.Agent {
	s.t.Helper()
	a, err := agent.New(agent.Config{Name: name, URL: s.url, TLS: tls, Credentials: s.user(s.au, name, subjects.Node), Trust: trust,
		State: s.t.TempDir(), HealthEvery: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	s.run(name, a.Ready(), a.Run)
	return a
}

// certificatesIn counts those of a file.
func certificatesIn(path string) (n int) {
	data, _ := os.ReadFile(path)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		n++
	}
	return n
}

func (s *site) eventually(what string, holds func() bool) {
	s.t.Helper()
	limit := time.After(3 * patience)
	for !holds() {
		select {
		case <-limit:
			s.t.Fatal("waited in vain for this:", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestTheAuthorityIsReplacedWithNoHandOnAnyHost(t *testing.T) {
	s := open(t)
	s.stop()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	_, stop := s.broker(port, s.au.Server())
	again := func(server identity.Server) {
		t.Helper()
		stop()
		_, stop = s.broker(port, server)
	}
	left := t.TempDir() // a broker's host that nobody gets to
	if err := s.au.CopyBroker(left); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(s.au.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	trust := s.trusts()
	stationTLS, nodeTLS, aliceTLS, awayTLS := s.host(old), s.host(old), s.host(old), s.host(old)
	st, err := station.New(station.Config{URL: s.url, TLS: stationTLS, Credentials: s.user(s.au, "station", subjects.Station), Trust: trust,
		Storage: subjects.Settings{LogsBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	s.run("the station", st.Ready(), st.Run)
	here := member{nodeTLS.CA, s.agent("here", nodeTLS, trust).Trust}
	members := []member{{stationTLS.CA, st.Trust}, here}
	admin := s.user(s.au, "admin", subjects.Admin)
	alice := func() error {
		c, err := client.Open(t.Context(), client.Options{URL: s.url, TLS: aliceTLS, Credentials: admin, Trust: trust})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.TrustSet(t.Context()) // as a verb that proves something reads it
		return err
	}
	// spread tells everybody, and waits until each who is connected has heard it.
	spread := func() {
		t.Helper()
		if _, err := announce.Trust(t.Context(), s.au, s.options(s.au)); err != nil {
			t.Fatal(err)
		}
		set, err := message.OpenTrust(s.trusts())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			s.eventually(filepath.Base(m.ca)+" follows the trust set", func() bool { return m.trust().Current().Version >= set.Version })
		}
	}
	holds := func(n int, members ...member) {
		t.Helper()
		for _, m := range members {
			s.eventually(m.ca+" holds what the trust set says", func() bool { return certificatesIn(m.ca) == n })
		}
	}
	person := member{ca: aliceTLS.CA}

	if err := s.au.RotateCA(); err != nil {
		t.Fatal(err)
	}
	again(s.au.Server())
	if err := alice(); err != nil {
		t.Error("a person who knows the old authority alone:", err)
	}
	spread() // over connections that were made anew
	if err := alice(); err != nil {
		t.Error(err)
	}
	holds(2, append(members, person)...)

	members = append(members, member{awayTLS.CA, s.agent("away", awayTLS, trust).Trust}) // returns with the old file
	holds(2, members...)
	again(s.au.Server())
	s.user(s.au, "bob", subjects.Viewer)
	spread()

	if err := s.au.FinishCA(); err != nil {
		t.Fatal(err)
	}
	spread()
	if err := alice(); err != nil {
		t.Error(err)
	}
	holds(1, append(members, person)...)
	behind, err := identity.LoadServer(left)
	if err != nil {
		t.Fatal(err)
	}
	again(behind)
	if err := alice(); fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), "and not by who stands in") {
		t.Error("a broker with a certificate by the old authority:", err)
	}
	again(s.au.Server())
	s.user(s.au, "carl", subjects.Viewer)
	spread()
	if err := alice(); err != nil {
		t.Error(err)
	}
}
