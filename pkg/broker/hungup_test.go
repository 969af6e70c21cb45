package broker

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestWhoHasHungUpIsKnownAndNothingIsRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if hungUp(here) {
		t.Error("it is there and silent, and counts as gone")
	}
	if _, err := io.WriteString(there, "x"); err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	if hungUp(here) {
		t.Error("it says something, and counts as gone")
	}
	if _, err := io.ReadFull(here, one); err != nil || one[0] != 'x' {
		t.Errorf("%q, %v: what it said was read by the question", one, err)
	}
	there.Close()
	_ = here.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := here.Read(one); err != io.EOF { // its end has arrived
		t.Fatal(n, err)
	}
	if !hungUp(here) {
		t.Error("it has gone, and counts as there")
	}
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	if hungUp(pipe) {
		t.Error("what is no socket counts as gone")
	}
}
