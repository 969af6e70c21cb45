package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that takes a moment.
const patience = 60 * time.Second

// process is a fairlead that runs.
type process struct {
	cmd      *exec.Cmd
	out, err *stream
	done     chan struct{} // closed once it ended
	code     int           // valid then; -1 where a signal ended it
	keep     bool          // outlives the test that started it
}

// start runs fairlead; it is killed at the end of the test if it still runs.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startAs(t, nil, env, args...)
}

func startAs(t *testing.T, as *syscall.Credential, env []string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath("fairlead")
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, &exec.Cmd{Path: path, Args: append([]string{"fairlead"}, args...), Env: env,
		Dir: repository(t), SysProcAttr: &syscall.SysProcAttr{Credential: as}})
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{})}
	p.out, p.err = newStream(p.done), newStream(p.done)
	cmd.Stdout, cmd.Stderr = p.out, p.err
	// A child of it, such as nginx, must not hold up the end.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // the exit code says all
		p.code = cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	t.Cleanup(func() {
		if !p.keep {
			p.kill()
		}
		if t.Failed() {
			t.Logf("%v\nstdout:\n%s\nstderr:\n%s", cmd.Args, p.out.text(), p.err.text())
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// interrupt is Ctrl-C.
func (p *process) interrupt() (code int, err error) { return p.signal(syscall.SIGINT) }

func (p *process) signal(s os.Signal) (code int, err error) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	return p.wait()
}

func (p *process) wait() (code int, err error) {
	select {
	case <-p.done:
		return p.code, nil
	case <-time.After(patience):
		p.kill()
		return 0, fmt.Errorf("%v did not end within %s\nstdout:\n%s\nstderr:\n%s", p.cmd.Args, patience, p.out.text(), p.err.text())
	}
}

// ends asserts the exit code after a signal, or by itself where s is nil.
func (p *process) ends(t *testing.T, s os.Signal, code int) {
	t.Helper()
	var got int
	var err error
	if s == nil {
		got, err = p.wait()
	} else {
		got, err = p.signal(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Fatalf("%v ended with exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", p.cmd.Args, got, code, p.out.text(), p.err.text())
	}
}

// fairlead runs a command to its end, asserts its exit code and returns what it wrote.
func fairlead(t *testing.T, env []string, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	p := start(t, env, args...)
	p.ends(t, nil, code)
	return p.out.text(), p.err.text()
}

// stream is what a process wrote so far.
type stream struct {
	mu   sync.Mutex
	b    bytes.Buffer
	grew chan struct{}
	done <-chan struct{}
}

func newStream(done <-chan struct{}) *stream {
	return &stream{grew: make(chan struct{}, 1), done: done}
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.grew <- struct{}{}:
	default:
	}
	return s.b.Write(p)
}

func (s *stream) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// find waits until the stream matches, and returns the match and its groups.
func (s *stream) find(pattern string) ([]string, error) {
	re := regexp.MustCompile("(?m)" + pattern)
	deadline := time.After(patience)
	for {
		if m := re.FindStringSubmatch(s.text()); m != nil {
			return m, nil
		}
		select {
		case <-s.grew:
		case <-s.done:
			if m := re.FindStringSubmatch(s.text()); m != nil {
				return m, nil
			}
			return nil, fmt.Errorf("ended without %q:\n%s", pattern, s.text())
		case <-deadline:
			return nil, fmt.Errorf("no %q within %s:\n%s", pattern, patience, s.text())
		}
	}
}

func (s *stream) await(t *testing.T, pattern string) []string {
	t.Helper()
	m, err := s.find(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// eventually tries until it works.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	if err := tryUntil(try); err != nil {
		t.Fatal(err)
	}
}

func tryUntil(try func() error) error {
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("not within %s: %w", patience, err)
		}
	}
}

// shellCommand runs a line as a person types it.
func shellCommand(dir string, env []string, line string) *exec.Cmd {
	return &exec.Cmd{Path: "/bin/bash", Args: []string{"bash", "-o", "pipefail", "-c", line}, Env: env, Dir: dir}
}
