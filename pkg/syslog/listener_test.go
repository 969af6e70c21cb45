package syslog_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/syslog"
)

// start runs a listener until the test ends and gives its records.
func start(t *testing.T, address string) (*syslog.Listener, <-chan syslog.Record) {
	t.Helper()
	l, err := syslog.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	records, ended := make(chan syslog.Record, 4096), make(chan error, 1)
	go func() { ended <- l.Run(ctx, func(r syslog.Record) { records <- r }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return l, records
}

func dial(t *testing.T, l *syslog.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, records <-chan syslog.Record, message string) {
	t.Helper()
	select {
	case r := <-records:
		if r.Message != message {
			t.Fatalf("got %q, want %q", r.Message, message)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%q did not arrive", message)
	}
}

func TestRecordsArriveInOrderOnEverySocket(t *testing.T) {
	for _, address := range []string{"unixgram:" + t.TempDir() + "/s", "unix:" + t.TempDir() + "/s", "udp:127.0.0.1:0", "tcp:127.0.0.1:0"} {
		t.Run(address[:4], func(t *testing.T) {
			l, records := start(t, address)
			conn := dial(t, l)
			for i := range 100 {
				send(t, conn, fmt.Sprintf("<190>Nov 22 03:04:05 nginx: %d\n", i))
				want(t, records, fmt.Sprint(i))
			}
			if s := l.Stats(); s != (syslog.Stats{Received: 100}) {
				t.Fatalf("stats %+v", s)
			}
		})
	}
}

func TestNothingReceivedStopsTheListener(t *testing.T) {
	l, records := start(t, "unix:"+t.TempDir()+"/s")
	conn := dial(t, l)
	for _, garbage := range []string{"\x00", "<", "<999>1", "\xff\xfe"} {
		send(t, conn, garbage)
	}
	for _, garbage := range []string{"<", "<999>1", "\ufffd\ufffd"} {
		want(t, records, garbage)
	}
	send(t, conn, strings.Repeat("x", syslog.MaxLength+1))
	<-records
	send(t, conn, "<13>alive")
	want(t, records, "alive")
	if l.Stats().Cut != 1 {
		t.Fatalf("stats %+v", l.Stats())
	}
}

func TestDatagramsBeyondTheQueueAreCounted(t *testing.T) {
	l, err := syslog.Listen("unix:" + t.TempDir() + "/s")
	if err != nil {
		t.Fatal(err)
	}
	busy, release, handled := make(chan bool), make(chan bool), 0
	ended := make(chan error)
	go func() {
		ended <- l.Run(context.Background(), func(syslog.Record) {
			if handled++; handled == 1 {
				close(busy)
				<-release
			}
		})
	}()
	conn := dial(t, l)
	send(t, conn, "<13>first")
	<-busy
	for range 1000 { // a unix datagram's sender waits while the socket's own queue is full
		send(t, conn, "<13>more")
	}
	for l.Stats().Received < 1001 {
		runtime.Gosched() // let the reader take what the kernel still holds
	}
	close(release)
	l.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Dropped == 0 || uint64(handled)+s.Dropped != 1001 {
		t.Fatalf("%d handled, %+v", handled, s)
	}
}

func TestASlowHandlerLosesNothingOverTCP(t *testing.T) {
	l, err := syslog.Listen("tcp:127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, l)
	const n = 5000
	go func() {
		for i := range n {
			fmt.Fprintf(conn, "<13>%d\n", i)
		}
		conn.Close()
	}()
	next, wrong := 0, ""
	if err := l.Run(context.Background(), func(r syslog.Record) {
		if r.Message != fmt.Sprint(next) && wrong == "" {
			wrong = r.Message
		}
		if next++; next == n {
			l.Close()
		}
	}); err != nil || next != n || wrong != "" {
		t.Fatalf("%d of %d, first wrong one %q, %v", next, n, wrong, err)
	}
}

func TestConnectionsAreBoundedInNumberAndIdleTime(t *testing.T) {
	l, records := start(t, "tcp:127.0.0.1:0?connections=1&idle=300ms")
	first := dial(t, l)
	send(t, first, "<13>first\n<13>unfinished")
	want(t, records, "first")
	second := dial(t, l)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Fatal("a connection beyond the limit was not closed")
	}
	want(t, records, "unfinished") // the idle timeout ends the first, and keeps what it had sent
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Fatal("an idle connection was not closed")
	}
	if l.Stats().Refused != 1 {
		t.Fatalf("stats %+v", l.Stats())
	}
}

func TestAStaleSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() // leaves its file, as a killed process does
	l, err := syslog.Listen("unix:" + path + "?mode=0620")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o620 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	if _, err := syslog.Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("second listener: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Fatalf("after close: %v", err)
	}
}

func TestCloseLeavesASuccessorsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := syslog.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := syslog.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	old.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyASocketIsEverRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := syslog.Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Fatalf("got %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "precious" {
		t.Fatal("the file was touched")
	}
}

func TestAWrongAddressIsRefusedWithAReason(t *testing.T) {
	for _, address := range []string{"", "/dev/log", "unix:", "unix:" + strings.Repeat("x", 108), "tls:a:1", "tcp:1", "udp:a:1:2",
		"tcp:127.0.0.1:0?mode=1", "unix:/x?mode=9", "unix:/x?idle=1s", "tcp:127.0.0.1:0?idle=0s", "tcp:127.0.0.1:0?connections=-1", "unix:/nowhere/at/all"} {
		if l, err := syslog.Listen(address); err == nil {
			l.Close()
			t.Errorf("%q was accepted", address)
		} else if !strings.Contains(err.Error(), "syslog") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestRunIsCalledOnceAndCloseMoreThanOnce(t *testing.T) {
	l, err := syslog.Listen("udp:127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(context.Background(), nil); err == nil {
		t.Fatal("a second run was accepted")
	}
}
