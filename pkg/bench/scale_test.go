package bench_test

import (
	"os"
	"testing"
	"time"

	"fairlead/pkg/bench"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
)

// What a fleet is measured by is that of a fleet: everybody answers, and after a
// storm every command that was missed has run once.
func TestScaleReportsEveryFigureAndEveryMissedCommandEnds(t *testing.T) {
	binary := build(t)
	t.Setenv("TMPDIR", t.TempDir())
	const nodes, missed = 4, 3
	r, err := bench.Scale(t.Context(), bench.ScaleOptions{Options: bench.Options{Binary: binary, Journals: t.TempDir(), Nodes: nodes},
		NginxDelay: time.Millisecond, Settle: time.Millisecond, Steady: 100 * time.Millisecond, Missed: missed, Questions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Machine.Cores == 0 || r.Nodes != nodes || r.Sync != "2m" || r.Missed != missed {
		t.Errorf("%+v", r)
	}
	if len(r.Figures) != 16 {
		t.Fatalf("%+v", r.Figures)
	}
	for i, f := range r.Figures {
		if f.Name == "" || f.Count == 0 || f.Rate <= 0 {
			t.Errorf("figure %d: %+v", i, f)
		}
	}
	for _, i := range []int{3, 4, 5, 12, 13, 14, 15} { // agents, health, and commands and changes of all
		if f := r.Figures[i]; f.Ratio <= 0 || f.Against == "" {
			t.Errorf("%s is compared with nothing: %+v", f.Name, f)
		}
	}
	if r.Memory == (bench.Cost{}) {
		t.Errorf("%+v", r.Memory)
	}
	if to := r.Rollout; to.Waves != 2 || to.Counts != (rollout.Counts{Applied: nodes}) || to.Plan <= 0 || to.Bake <= 0 {
		t.Errorf("%+v", to)
	}
	if st := r.Storm; st.Missed != nodes*missed || st.States[message.Succeeded] != nodes*missed || st.Took <= 0 {
		t.Errorf("%+v", st)
	}
	if all := left(t, binary); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
	if dirs, err := os.ReadDir(os.TempDir()); err != nil || len(dirs) != 0 {
		t.Errorf("directories are left: %v, %v", dirs, err)
	}
}

func TestLightNodesAllAnswer(t *testing.T) {
	binary := build(t)
	t.Setenv("TMPDIR", t.TempDir())
	const nodes = 20
	r, err := bench.Light(t.Context(), bench.ScaleOptions{Options: bench.Options{Binary: binary, Journals: t.TempDir(), Nodes: nodes},
		HealthEvery: 10 * time.Second, Settle: time.Millisecond, Steady: 100 * time.Millisecond, Questions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Light || r.Nodes != nodes || len(r.Figures) != 9 {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Figures {
		if f.Name == "" || f.Count == 0 || f.Rate <= 0 {
			t.Errorf("%+v", f)
		}
	}
	if last := r.Figures[8]; last.Count != nodes || last.Ratio <= 0 || r.MemoryRatio <= 0 {
		t.Errorf("%+v, memory %v", last, r.MemoryRatio)
	}
	if all := left(t, binary); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
	if dirs, err := os.ReadDir(os.TempDir()); err != nil || len(dirs) != 0 {
		t.Errorf("directories are left: %v, %v", dirs, err)
	}
}
