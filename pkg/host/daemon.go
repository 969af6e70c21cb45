package host

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Daemon is a program that outlives whoever starts it.
type Daemon struct {
	Path   string
	Args   []string
	Env    []string // nil is the environment of this process
	Dir    string   // "" is "/"
	Stderr string   // file that receives stdout and stderr, truncated at each start
}

// Start starts a daemon in a session of its own, with stdin at /dev/null and
// no descriptor of this process, so that nothing that ends this process, a
// hang-up or a kill -9, ends the daemon too. (A service manager that kills a
// whole control group still does.) The handle is open when the error is nil.
func Start(d Daemon) (*Process, error) {
	log, err := os.OpenFile(d.Stderr, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", d.Path, err)
	}
	defer log.Close()
	cmd := exec.Command(d.Path, d.Args...)
	cmd.Env, cmd.Dir = d.Env, d.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Stdout, cmd.Stderr = log, log // files, not pipes: no goroutine copies them
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.Path, err)
	}
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil { // it has ended already, or there are no pidfds
		_ = cmd.Process.Kill() // it has ended, or is about to
		state, waitErr := cmd.Process.Wait()
		if waitErr == nil {
			err = fmt.Errorf("it ended at once: %s", state)
		}
		return nil, fmt.Errorf("start %s: %w", d.Path, err)
	}
	_ = cmd.Process.Release() // Process.Wait reaps it
	return p, nil
}
