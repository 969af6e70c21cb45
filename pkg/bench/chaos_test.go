package bench_test

import (
	"testing"
	"time"

	"fairlead/pkg/bench"
)

// With broker and station killed in the midst of it and half of the nodes away,
// every command ends once, as it ran.
func TestCommandsEndOnceWhateverIsKilled(t *testing.T) {
	binary := build(t)
	t.Setenv("TMPDIR", t.TempDir())
	const nodes, commands, kills = 6, 300, 3
	r, err := bench.Mistreat(t.Context(), bench.ChaosOptions{Options: bench.Options{Binary: binary, Journals: t.TempDir(), Nodes: nodes, Commands: commands},
		Kills: kills, Pause: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) > 0 {
		t.Errorf("seed %d: %v", r.Seed, r.Faults)
	}
	if r.Sent != commands || r.Away != nodes/2 || r.Brokers+r.Stations < kills || r.Effects < commands || r.Ends.Commands < commands {
		t.Errorf("%+v", r)
	}
	if all := left(t, binary); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
}
