package bench_test

import (
	"testing"

	"fairlead/pkg/bench"
)

func TestJoinReportsEveryFigureAndLeavesNothing(t *testing.T) {
	binary := build(t)
	t.Setenv("TMPDIR", t.TempDir())
	j, err := bench.Join(t.Context(), bench.JoinOptions{Options: bench.Options{Binary: binary, Journals: t.TempDir(), Nodes: 5}, Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Figures) != 2 || j.Figures[1].Count != 5 || j.Took <= 0 || j.Revoked < j.RevokedP50 || j.RevokedP50 <= 0 || j.CutOff <= 0 {
		t.Errorf("%+v", j)
	}
	for _, f := range j.Figures {
		if f.P50 <= 0 || f.P99 < f.P50 || f.Rate <= 0 {
			t.Errorf("%+v", f)
		}
	}
	if all := left(t, binary); len(all) > 0 {
		t.Errorf("processes are left: %v", all)
	}
}
