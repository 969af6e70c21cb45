package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/broker"
	"fairlead/pkg/identity"
)

// childDir in the environment turns the test binary into a broker; with
// childLimit it cannot write files beyond so many bytes.
const (
	childDir   = "FAIRLEAD_TEST_BROKER"
	childLimit = "FAIRLEAD_TEST_BROKER_FILE_BYTES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	for _, dir := range builtDirs {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// child runs a broker that syncs always, says its URL and waits for its end.
func child(dir string) error {
	if bytes, err := strconv.ParseUint(os.Getenv(childLimit), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes}); err != nil {
			return err
		}
	}
	a, err := identity.Open(filepath.Join(dir, "identity"), identity.Options{})
	if err != nil {
		return err
	}
	b, err := broker.New(broker.Config{
		StoreDir: filepath.Join(dir, "store"), Sync: "always", Server: a.Server(),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	go func() {
		<-b.Ready()
		fmt.Println(b.URL())
	}()
	return b.Run(context.Background())
}

// spawn starts a child and returns its URL and what kills it with SIGKILL.
func spawn(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	url = begin(t, cmd)
	return url, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// begin starts a child and returns its URL; the child ends with the test.
func begin(t *testing.T, cmd *exec.Cmd) (url string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal("the broker said nothing:", err)
	}
	return strings.TrimSpace(line)
}
