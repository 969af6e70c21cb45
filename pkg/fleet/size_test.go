package fleet_test

import (
	"testing"

	"fairlead/pkg/fleet"
)

func TestSizesAreThoseThatNginxReadsEverywhere(t *testing.T) {
	for _, good := range []string{"1k", "1024", "64k", "10m", "10240k"} {
		if problem := fleet.SizeProblem(good, 1024, 10<<20); problem != "" {
			t.Errorf("%q is refused: %s", good, problem)
		}
	}
	for _, bad := range []string{"", "0", "1023", "11m", "1g", "1K", "1 k", "1kb", "-1k", "1.5m", "1k;", "9999999999", "k", "$a"} {
		if fleet.SizeProblem(bad, 1024, 10<<20) == "" {
			t.Errorf("%q is taken", bad)
		}
	}
	if got, want := fleet.SizeProblem("11m", 1024, 10<<20), `"11m": use 1k to 10m`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
