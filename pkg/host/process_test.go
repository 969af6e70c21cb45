package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/host"
)

func startSleep(t *testing.T) *host.Process {
	t.Helper()
	p, err := host.Start(host.Daemon{Path: "/bin/sleep", Args: []string{"60"}, Stderr: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		p.Close()
	})
	return p
}

func TestDaemonHasItsOwnSessionAndStartTime(t *testing.T) {
	before := host.BootClock()
	p := startSleep(t)
	if p.Session != p.PID {
		t.Errorf("session %d, want its own, %d", p.Session, p.PID)
	}
	if p.Started < before-10*time.Millisecond || p.Started > host.BootClock() {
		t.Errorf("started at %v, not between %v and %v", p.Started, before, host.BootClock())
	}
}

func TestChildrenAreThoseOfTheMainThread(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p, err := host.Start(host.Daemon{Path: "/bin/sh", Args: []string{"-c", "sleep 60 & echo $! > " + file + "; wait"}, Stderr: file + ".log"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer syscall.Kill(-p.PID, syscall.SIGKILL)
	var child int
	for deadline := time.Now().Add(5 * time.Second); child == 0 && time.Now().Before(deadline); runtime.Gosched() {
		data, _ := os.ReadFile(file)
		if text, whole := strings.CutSuffix(string(data), "\n"); whole {
			child, _ = strconv.Atoi(text)
		}
	}
	children, err := host.Children(p.PID)
	if err != nil || !slices.Equal(children, []int{child}) {
		t.Errorf("got %v, %v; want %d", children, err, child)
	}
	id, err := host.Identify(child)
	if err != nil || id.Session != p.PID {
		t.Errorf("got %+v, %v; want session %d", id, err, p.PID)
	}
}

func TestWaitEndsWithTheProcess(t *testing.T) {
	p := startSleep(t)
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- p.Wait(t.Context()) }()
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if p.Alive() {
		t.Error("alive after Wait")
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("signal to an ended process: %v", err)
	}
	if _, err := host.OpenProcess(p.PID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open an ended process: %v", err)
	}
}

func TestWaitEndsWithItsOwnContextOnly(t *testing.T) {
	p := startSleep(t)
	short, cancel := context.WithCancel(t.Context())
	one, two := make(chan error, 1), make(chan error, 1)
	go func() { one <- p.Wait(short) }()
	go func() { two <- p.Wait(t.Context()) }()
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled waiter got %v", err)
	}
	if !p.Alive() {
		t.Error("the process ended with the context of a waiter")
	}
	_ = p.Signal(syscall.SIGKILL)
	if err := <-two; err != nil {
		t.Errorf("other waiter got %v", err)
	}
}

func TestExecutableIsTheProgramsPath(t *testing.T) {
	p := startSleep(t)
	got, err := host.Executable(p.PID)
	want, _ := filepath.EvalSymlinks("/bin/sleep")
	if err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
