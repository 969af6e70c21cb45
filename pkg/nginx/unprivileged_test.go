package nginx_test

import (
	"context"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"fairlead/pkg/host"
)

// As root this runs the tests below once more as nobody, in a copy of the test
// binary that nobody may read. Without root every test is unprivileged anyway.
func TestEngineWorksWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := copyOfSelf(t, filepath.Join(dir, "nginx.test"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r, err := host.Run(ctx, host.Command{
		Path: "setpriv",
		Args: []string{"--reuid=" + nobody.Uid, "--regid=" + nobody.Gid, "--clear-groups", binary, "-test.v", "-test.run",
			"^(TestApplyServes|TestIdenticalApplyDoesNothing|TestBrokenConfigFileFailsWithNginxsOwnLine|TestReloadReplacesAllWorkers|" +
				"TestKilledMasterIsRestartedWithTheLastGoodVersion|TestEngineAdoptsTheRunningNginxWithoutTouchingIt|TestMasterThatDiedWithTheEngineIsStartedAgain|" +
				"TestEveryKindOfLocationWorks)$"},
		Dir: dir,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"},
	})
	if err != nil || r.ExitCode != 0 {
		t.Errorf("exit code %d, %v\n%s%s", r.ExitCode, err, r.Stdout, r.Stderr)
	}
}

func copyOfSelf(t *testing.T, path string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
