package bus_test

import (
	"bufio"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// asking is a server that asks its clients to sign a text of its choice in
// place of a nonce, and what a client answers.
func asking(t *testing.T, nonce string) (url string, answered <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard := make(chan string, 1)
	go func() {
		defer close(heard)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		info, err := json.Marshal(map[string]any{"server_id": "x", "version": "2.15.2", "proto": 1, "headers": true,
			"auth_required": true, "max_payload": 1 << 20, "nonce": nonce})
		if err != nil {
			return
		}
		if _, err := c.Write([]byte("INFO " + string(info) + "\r\n")); err != nil {
			return
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		heard <- line
	}()
	return "nats://" + l.Addr().String(), heard
}

// recorder signs nothing and keeps what it was asked to sign.
type recorder struct {
	message.Signer
	data []byte
}

func (r *recorder) Sign(data []byte) ([]byte, error) {
	r.data = data
	return make([]byte, 64), nil
}

func TestAServerCannotHaveACommandSignedAsItsNonce(t *testing.T) {
	s := bare(t)
	alice := s.credentials("alice", subjects.Admin)
	m := s.command("ship1", "reload")
	r := &recorder{Signer: alice}
	if err := m.Sign(r); err != nil {
		t.Fatal(err)
	}
	for name, nonce := range map[string]string{
		"a command": string(r.data), "its text": strings.ToValidUTF8(string(r.data), ""), "nothing": "", "a line break": "abc\n", "much": strings.Repeat("a", 100),
	} {
		url, answered := asking(t, nonce)
		c, err := bus.Connect(within(t), bus.Options{URL: url, Credentials: alice})
		if err == nil {
			c.Close()
			t.Fatal("connected to a server that is none")
		}
		if fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), "no nonce") {
			t.Errorf("%s: %v (%s)", name, err, fleet.KindOf(err))
		}
		if line := <-answered; strings.Contains(line, `"sig":"`) {
			t.Errorf("%s: it was signed: %s", name, line)
		}
	}
}
