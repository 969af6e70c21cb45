package host

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// killGrace is how long a process group has between TERM and KILL, and how
// long a pipe may stay open after the command itself has ended.
const killGrace = 500 * time.Millisecond

// Command is a program to run to its end.
type Command struct {
	Path string   // looked up in PATH when it has no slash
	Args []string // without the program's own name
	Env  []string // nil is the environment of this process
	Dir  string   // "" is the directory of this process
	// Stdin is what the command reads; nil is /dev/null.
	Stdin []byte
	// MaxOutput is how many bytes of each of stdout and stderr are kept; 0 is 256 KiB.
	MaxOutput int
}

// Result is what a command did.
type Result struct {
	ExitCode       int    // -1 when a signal ended it
	Signal         string // "SIGKILL"; empty when it exited by itself
	Stdout, Stderr []byte // the first MaxOutput bytes of each
	Truncated      bool   // one of the streams was longer than what is kept
	OutputBytes    int64  // length of both streams together, the part not kept included
	// OutputSHA256 is the hex SHA-256 of all output in the order in which it
	// arrived, kept or not. For a command that writes to one stream only, that
	// is the hash of the stream.
	OutputSHA256 string
	Duration     time.Duration
}

// Run runs a command in a process group of its own.
//
// A command that exits with another code than 0, or by a signal of its own, is
// a Result and no error. When ctx ends, the whole group gets TERM and half a
// second later KILL, and the error wraps the cause of ctx; the Result holds
// what there was until then. When Run returns, nothing of the group is left:
// what the command put into the background ends with it, and a grandchild
// that holds the pipes open delays the return by half a second at most. Only
// what made a session of its own escapes.
func Run(ctx context.Context, c Command) (Result, error) {
	out := newOutput(c.MaxOutput)
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	cmd.Stdout, cmd.Stderr = out.stream(&out.stdout), out.stream(&out.stderr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killGrace

	began := time.Now()
	if err := cmd.Start(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return Result{}, fmt.Errorf("run %s: %w", c.Path, err)
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nobody left, as it should be

	r := out.result()
	r.Duration = time.Since(began)
	r.ExitCode = cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.Signal = signalName(status.Signal())
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return r, fmt.Errorf("run %s: %w", c.Path, cause)
	}
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		return r, nil
	}
	return r, fmt.Errorf("run %s: %w", c.Path, err)
}

func (o *output) result() Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	return Result{
		Stdout: o.stdout, Stderr: o.stderr,
		Truncated: o.truncated, OutputBytes: o.total,
		OutputSHA256: hex.EncodeToString(o.hash.Sum(nil)),
	}
}

// LookPath finds a program as the shell does and gives the path of the file
// itself, links resolved, as Executable shows it for a running process.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
