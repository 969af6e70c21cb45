package main

import (
	"testing"
	"time"

	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
)

func TestTheExitCodeOfARolloutTellsTheTruth(t *testing.T) {
	for _, c := range []struct {
		state rollout.State
		want  error
	}{
		{rollout.State{Phase: rollout.Complete, Counts: rollout.Counts{Applied: 3}}, nil},
		{rollout.State{Phase: rollout.Complete, Counts: rollout.Counts{Applied: 3, Gone: 1}}, nil},
		{rollout.State{Phase: rollout.Complete, Counts: rollout.Counts{Applied: 2, Pending: 1}}, exitError(message.ExitPending)},
		{rollout.State{Phase: rollout.Complete, Counts: rollout.Counts{Applied: 1, Pending: 1, Failed: 1}}, exitError(message.ExitFailed)},
		{rollout.State{Phase: rollout.RolledBack}, exitError(message.ExitFailed)},
		{rollout.State{Phase: rollout.Aborted}, exitError(message.ExitFailed)},
		{rollout.State{Phase: rollout.Failed}, exitError(message.ExitFailed)},
		{rollout.State{Phase: rollout.Running, Counts: rollout.Counts{Applied: 3}}, exitError(message.ExitPending)},
		{rollout.State{Phase: rollout.RollingBack, Counts: rollout.Counts{Failed: 3}}, exitError(message.ExitPending)},
		{rollout.State{Phase: rollout.Paused}, exitError(message.ExitPending)},
	} {
		if got := rolloutExit(station.RolloutStatus{State: c.state}); got != c.want {
			t.Errorf("%s with %+v: %v, not %v", c.state.Phase, c.state.Counts, got, c.want)
		}
	}
}

func TestFlagsBecomeAStrategy(t *testing.T) {
	for line, want := range map[string]string{
		"":                               "",
		"--waves 1,5%,100%":              "1, 5%, 100%; on failure rollback",
		"--waves 100% --canary role=new": "canary role=new, 100%; on failure rollback",
		"--canary role=new":              "canary role=new, 1, 5%, 25%, 100%; on failure rollback",
		"--waves 100% --max-unavailable 10% --max-failed 2 --bake 2m --on-failure pause": "100%; at most 10% at once; at most 2 may fail; bakes 2m0s; on failure pause",
		"--waves 1,x":                        "--waves: \"x\" is no number of nodes and no percentage: use 3 or 5%",
		"--waves 100% --max-failed few":      "--max-failed: \"few\" is no number of nodes and no percentage: use 3 or 5%",
		"--waves 1,100% --approve-after 2":   "approveAfter: 2: there are 2 waves, and nothing to approve behind the last",
		"--gate approval":                    "--gate goes with --waves or --canary: without them the change is made at once",
		"--waves 100% --gate program:../run": "gate: \"program:../run\": name a program in the station's directory of gates: letters, digits, -, _ and dots",
		"--waves 100% --gate health:nginx.counters.activ<1": "--gate health:nginx.counters.activ<1: a health report has no number or truth \"nginx.counters.activ\": " +
			"did you mean \"nginx.counters.active\"? `fairlead health NODE --json` shows what it has",
		"--waves 100% --gate health:luck<1": "--gate health:luck<1: a health report has no number or truth \"luck\": " +
			"`fairlead health NODE --json` shows what it has",
		"--waves 100% --gate health:nginx.answered.errors<1 --gate health:host.load1<4 --gate health:nginx.up==1": "100%; on failure rollback",
	} {
		var s strategy
		c := newVersion(newApp())
		s.flags(c)
		if err := c.ParseFlags(exampleArgs(t, "fairlead "+line)); err != nil {
			t.Fatal(err)
		}
		got := ""
		how, wanted, err := s.read(c)
		if err != nil {
			got = err.Error()
		} else if wanted {
			got = described(how)
		}
		if got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestABarShowsWhatIsReleasedAndWhatServes(t *testing.T) {
	r := station.RolloutStatus{Size: 20, Progress: "running", State: rollout.State{Phase: rollout.Running, Released: 10, Reason: "5 nodes on the way", Counts: rollout.Counts{Applied: 5, Working: 5}}}
	if got, want := bar(r, 100), "█████▒▒▒▒▒░░░░░░░░░░ running (5 nodes on the way)"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	if got := bar(station.RolloutStatus{Progress: "complete"}, 100); got != "complete" {
		t.Error(got)
	}
}

func TestANodeIsToldWhatARolloutHasToDoWithIt(t *testing.T) {
	n := station.NodeDetail{NodeStatus: station.NodeStatus{Name: "n1"}, Now: time.Unix(1e9, 0)}
	n.Rollout = &station.NodeRollout{ID: "R", By: "alice", Progress: "paused", Wave: 2}
	if got, want := rolloutText(n.Rollout), "rollout R by alice holds it back for wave 2 and is paused"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	n.Rollout.Released = true
	if got, want := rolloutText(n.Rollout), "rollout R by alice has released it with wave 2 and is paused"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	if got := rolloutText(nil); got != "" {
		t.Error(got)
	}
}
