package broker

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
)

// served is a TLS server behind a door.
type served struct {
	door   *door
	config *tls.Config
	client *tls.Config
	failed chan error // of each handshake, as the server saw it
}

func serve(t *testing.T, places int, wait, hold time.Duration) (*served, string) {
	t.Helper()
	authority := certtest.New(t)
	pair := authority.Issue("broker")
	cert, err := tls.X509KeyPair(pair.Chain, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := authority.Pool()
	s := &served{door: &door{places: make(chan struct{}, places), wait: wait, hold: hold}, failed: make(chan error, 16),
		client: &tls.Config{RootCAs: pool, ServerName: "broker", MinVersion: tls.VersionTLS13}}
	s.config = s.door.before(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { s.failed <- tls.Server(conn, s.config).Handshake() }()
		}
	}()
	return s, l.Addr().String()
}

const long = time.Minute

func TestADoorIsPassedByManyOneAfterTheOther(t *testing.T) {
	s, address := serve(t, 1, long, long)
	for range 5 {
		conn, err := tls.Dial("tcp", address, s.client)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := <-s.failed; err != nil {
			t.Error(err)
		}
	}
	if len(s.door.places) != 0 {
		t.Errorf("%d places are kept by who has passed", len(s.door.places))
	}
}

func TestWhoWaitsTooLongAtADoorIsTurnedAway(t *testing.T) {
	s, address := serve(t, 1, time.Millisecond, long)
	s.door.places <- struct{}{} // taken for good
	if conn, err := tls.Dial("tcp", address, s.client); err == nil {
		conn.Close()
		t.Error("a client passed although there was no place")
	}
	if err := <-s.failed; fleet.KindOf(err) != fleet.Busy {
		t.Errorf("the server says %v", err)
	}
	<-s.door.places
	conn, err := tls.Dial("tcp", address, s.client)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestWhoFindsAPlaceAtADoorIsNotLate(t *testing.T) {
	d := &door{places: make(chan struct{}, 1), hold: long} // no time to wait at all
	for range 200 {
		leave, err := d.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
}

// A place is for what the server computes. A client that says nothing more, or is
// far away, or is gone, keeps none.
func TestASilentClientKeepsNobodyOutOfADoor(t *testing.T) {
	s, address := serve(t, 1, long, long)
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hello := tls.Client(&deaf{silent, t.Context().Done()}, s.client)
	go func() { _ = hello.Handshake() }() // says hello, and reads no answer
	conn, err := tls.Dial("tcp", address, s.client)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestAPlaceAtADoorIsHeldForATimeOnly(t *testing.T) {
	d := &door{places: make(chan struct{}, 1), wait: long, hold: time.Millisecond}
	for range 3 { // nobody leaves
		if _, err := d.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAHandshakeThatEndsLeavesTheDoor(t *testing.T) {
	s, address := serve(t, 1, long, long)
	stranger := s.client.Clone()
	stranger.RootCAs = nil // does not know the server, and says so
	if conn, err := tls.Dial("tcp", address, stranger); err == nil {
		conn.Close()
		t.Error("a client trusts a server that it does not know")
	}
	<-s.failed
	conn, err := tls.Dial("tcp", address, s.client)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// deaf is a connection on which nothing is ever heard.
type deaf struct {
	net.Conn
	end <-chan struct{}
}

func (d *deaf) Read([]byte) (int, error) {
	<-d.end
	return 0, net.ErrClosed
}
