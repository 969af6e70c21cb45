package host_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/host"
)

func TestActivityTellsAStoppedProcessFromASleepingOne(t *testing.T) {
	p := startSleep(t)
	is := func(state byte) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; {
			a, err := host.ReadActivity(p.PID)
			if err != nil {
				t.Fatal(err)
			}
			if a.Parent != os.Getpid() {
				t.Fatalf("its parent is %d, not %d", a.Parent, os.Getpid())
			}
			if a.State == state {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("its state is %c, not %c", a.State, state)
			}
		}
	}
	is('S')
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	is('T')
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	is('S')
}

func TestBlockedSignalsAreSeen(t *testing.T) {
	p, err := host.Start(host.Daemon{Path: "/usr/bin/env", Args: []string{"--block-signal=HUP", "--block-signal=TERM", "sleep", "60"},
		Stderr: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer func() { _ = p.Signal(syscall.SIGKILL) }()
	for deadline := time.Now().Add(5 * time.Second); ; {
		a, err := host.ReadActivity(p.PID)
		if err == nil && a.Blocks(syscall.SIGHUP) && a.Blocks(syscall.SIGTERM) && !a.Blocks(syscall.SIGINT) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
}

func TestFateOfAChildIsKnown(t *testing.T) {
	p := startSleep(t)
	if p.Fate() != "" {
		t.Errorf("it lives and has the fate %q", p.Fate())
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := p.Fate(); got != "was killed by SIGKILL" {
		t.Errorf("got %q", got)
	}
}

func TestHolderOfAPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	if got := host.Holder(at); !strings.Contains(got, "host.test") {
		t.Errorf("got %q", got)
	}
	if got := host.Holder(netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())); got == "" {
		t.Error("a listener on one address holds the port against all")
	}
	l.Close()
	if got := host.Holder(at); got != "" {
		t.Errorf("nobody listens, and it is held by %q", got)
	}
}

func TestListenersOfAProcessAreFoundAmongItsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := host.ListeningOn(os.Getpid())
	if !slices.Contains(got, at) || slices.Contains(got, conn.LocalAddr().(*net.TCPAddr).AddrPort()) {
		t.Errorf("it listens on %v, and connects from %v; got %v", at, conn.LocalAddr(), got)
	}
}
