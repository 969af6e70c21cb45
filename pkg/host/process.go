package host

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const errSRCH = syscall.ESRCH

// Process is a handle on one running process, whose parent need not be this
// one. It never means another process than the one it was opened on.
type Process struct {
	Identity
	fd   *os.File // pidfd in the runtime's poller: readable once the process has ended
	fate atomic.Pointer[string]
}

// OpenProcess opens the process that has a pid now. The caller looks at the
// identity, executable or title after opening, closes it when they are not
// what it wants, and is then sure of every later signal.
func OpenProcess(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, gone(err))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &Process{fd: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd:%d", pid))}
	// Read after the pidfd is held: were the pid used again in between, the
	// process of the pidfd has ended and Alive says so.
	if p.Identity, err = Identify(pid); err == nil && !p.Alive() {
		err = fs.ErrNotExist
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return p, nil
}

// Signal sends a signal; fs.ErrNotExist when the process has ended.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.control(func(fd int) error { return unix.PidfdSendSignal(fd, s, nil, 0) })
	if err != nil {
		return fmt.Errorf("send %s to process %d: %w", signalName(s), p.PID, gone(err))
	}
	return nil
}

// Alive says whether the process has not ended yet; a zombie has.
func (p *Process) Alive() bool {
	ended := false
	err := p.control(func(fd int) (err error) {
		ended, err = readable(fd)
		return err
	})
	return err == nil && !ended
}

// Wait blocks until the process has ended, or ctx has and its error comes
// back. It may be called from several goroutines at once. A child of this
// process is reaped.
func (p *Process) Wait(ctx context.Context) error {
	fd, err := p.duplicate() // a deadline of its own for each waiter
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	defer fd.Close()
	raw, err := fd.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		ended, err := readable(int(fd))
		return ended || err != nil
	})
	switch {
	case err == nil:
		p.reap()
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("wait for process %d: %w", p.PID, err)
}

func (p *Process) duplicate() (file *os.File, err error) {
	err = p.control(func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			file = os.NewFile(uintptr(dup), p.fd.Name()) // non-blocking like the first: one open file
		}
		return err
	})
	return file, err
}

// Close gives the handle up. The process goes on; a child of this process that
// has ended is reaped.
func (p *Process) Close() error {
	if !p.Alive() {
		p.reap()
	}
	return p.fd.Close()
}

func (p *Process) reap() {
	var status unix.WaitStatus
	pid, err := unix.Wait4(p.PID, &status, unix.WNOHANG, nil)
	if err != nil || pid != p.PID { // ECHILD: not ours to reap, or reaped already
		return
	}
	fate := fmt.Sprintf("exited with %d", status.ExitStatus())
	if status.Signaled() {
		fate = "was killed by " + signalName(syscall.Signal(status.Signal()))
	}
	p.fate.Store(&fate)
}

// Fate is how a child of this process ended, "was killed by SIGKILL" or
// "exited with 1", once Wait or Close has returned; of others nobody knows, and
// it is "".
func (p *Process) Fate() string {
	if fate := p.fate.Load(); fate != nil {
		return *fate
	}
	return ""
}

func (p *Process) control(f func(fd int) error) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func readable(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}
