package bench_test

import (
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"

	"fairlead/pkg/bench"
)

var swaps = flag.Int("swaps", 100, "how many revisions are applied under load")

// No request fails but what a client that cannot try again sends over a
// connection that nginx closes, and no answer is of two revisions.
func TestRevisionsUnderLoadFailNoRequestAndAreNeverMixed(t *testing.T) {
	loaded, err := bench.Load(t.Context(), *swaps, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 3 {
		t.Fatalf("%+v", loaded)
	}
	for i, l := range loaded {
		t.Logf("%s: %d requests, %d failed (%s), %d mixed, %d revisions seen", l.Client, l.Requests, l.Failed, l.Error, l.Mixed, l.Seen)
		if canFail := i == 2; l.Failed > 0 && !canFail {
			t.Errorf("%s: %d of %d requests failed: %s", l.Client, l.Failed, l.Requests, l.Error)
		}
		if l.Mixed > 0 {
			t.Errorf("%s: %d answers of two revisions", l.Client, l.Mixed)
		}
		if l.Requests == 0 || l.Seen < *swaps/2 {
			t.Errorf("%s: saw %d of %d revisions in %d requests", l.Client, l.Seen, *swaps, l.Requests)
		}
	}
}

func TestApplyIsMeasuredBesideBareMeansAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if err := os.Chmod(os.TempDir(), 0o711); err != nil {
		t.Fatal(err)
	}
	a, err := bench.Apply(t.Context(), bench.ApplyOptions{Runs: 2, Hosts: 20, Applies: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Figures) != 6 || len(a.Load) != 3 || a.Machine.Cores == 0 {
		t.Fatalf("%+v", a)
	}
	for i, f := range a.Figures {
		if f.Count != 2 || f.P50 <= 0 || f.P99 < f.P50 {
			t.Errorf("%+v", f)
		}
		if i%2 == 1 && (f.Ratio <= 0 || !strings.HasPrefix(f.Against, "nginx -t, HUP")) {
			t.Errorf("%s stands beside nothing: %+v", f.Name, f)
		}
	}
	if dirs, err := os.ReadDir(os.TempDir()); err != nil || len(dirs) != 0 {
		t.Errorf("directories are left: %v, %v", dirs, err)
	}
}
