package hosttest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/host"
	"fairlead/pkg/host/hosttest"
)

// how says how a run of tests that leaves daemons behind comes to its end.
const how = "HOSTTEST_END"

func TestMain(m *testing.M) {
	if os.Getenv(how) == "" {
		os.Exit(hosttest.Run(m.Run))
	}
	os.Exit(hosttest.Run(leave))
}

// leave starts a daemon that has a child of its own, says their pids, and ends.
func leave() int {
	dir, err := os.MkdirTemp("", "hosttest")
	fifo := filepath.Join(dir, "pids")
	if err == nil {
		err = syscall.Mkfifo(fifo, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	p, err := host.Start(host.Daemon{Path: "/bin/sh", Stderr: filepath.Join(dir, "log"),
		Args: []string{"-c", "trap '' TERM; sleep 1000 & echo $$ $! >" + fifo + "; wait"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	pids, err := os.ReadFile(fifo)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("%s", pids)
	_ = p.Close()
	os.RemoveAll(dir)
	switch os.Getenv(how) {
	case "panic":
		panic("a test timed out")
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "terminate": // as of the go command, which knows the other process alone
		_ = syscall.Kill(os.Getppid(), syscall.SIGTERM)
	}
	if os.Getenv(how) != "return" {
		select {}
	}
	return 7
}

func TestNothingOutlivesTheTests(t *testing.T) {
	for end, code := range map[string]int{"return": 7, "panic": 2, "kill": 128 + 9, "terminate": 128 + 15} {
		t.Run(end, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			// As the first process of a run of its own.
			cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_TESTS_") })
			cmd.Env = append(cmd.Env, how+"="+end)
			var complaint bytes.Buffer
			cmd.Stderr = &complaint
			out, err := cmd.Output()
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Errorf("exit code %d, want %d (%v)\n%s", got, code, err, &complaint)
			}
			pids := strings.Fields(string(out))
			if len(pids) != 2 {
				t.Fatalf("it said %q\n%s", out, &complaint)
			}
			for _, text := range pids {
				pid, err := strconv.Atoi(text)
				if err != nil {
					t.Fatal(err)
				}
				if p, err := host.OpenProcess(pid); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("process %d lives on: %v, %v", pid, p, err)
				}
			}
			if !strings.Contains(complaint.String(), "had left running: /bin/sh -c trap") {
				t.Errorf("it said on stderr: %s", &complaint)
			}
		})
	}
}
