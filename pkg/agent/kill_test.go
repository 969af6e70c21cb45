package agent_test

import (
	"testing"

	"fairlead/pkg/agent"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// killed runs a node's agent until it kills itself at a point of the first of
// three commands, and starts it again.
func killed(t *testing.T, method, point string) (n *node, ids []string) {
	n = sharedSystem(t).newNode(t)
	p := n.spawn(t, point)
	ids = n.send(t, n.command(method, "a", ""), n.command(method, "a", ""), n.command(method, "b", ""))
	p.killed(t)
	n.spawn(t, "")
	n.ends(t, ids...)
	return n, ids
}

func TestAKillOfTheAgentAtAnyPointLosesAndDoublesNothing(t *testing.T) {
	for _, method := range []string{work, durable} {
		for _, point := range points {
			if method == work && point == agent.PointStarted {
				continue // nothing is kept of its start
			}
			t.Run(method+" at "+point, func(t *testing.T) {
				t.Parallel()
				n, ids := killed(t, method, point)
				ended := n.wellAfter(t)
				for _, id := range ids {
					if end := ended[id]; end.State != message.Succeeded {
						t.Errorf("%s ended %s: %s", id, end.State, end.Message)
					}
					if !n.made(t, id) {
						t.Errorf("%s had no effect", id)
					}
				}
				// A run that was cut off before its end was kept is repeated.
				runs := n.runs(t)
				if len(runs) > len(ids)+3 { // one cut off in each lane
					t.Errorf("%d commands ran %d times: %q", len(ids)+1, len(runs), runs)
				}
			})
		}
	}
}

func TestACommandWhoseEndWasKeptIsNotRunAgainAfterAKill(t *testing.T) {
	for _, method := range []string{work, durable, once} {
		for _, point := range []string{agent.PointFinished, agent.PointPublished, agent.PointSettled} {
			t.Run(method+" at "+point, func(t *testing.T) {
				t.Parallel()
				n := sharedSystem(t).newNode(t)
				p := n.spawn(t, point)
				id := n.send(t, n.command(method, "a", ""))[0]
				p.killed(t)
				n.spawn(t, "")
				if end := n.wellAfter(t)[id]; end.State != message.Succeeded || n.count(t, id) != 1 {
					t.Errorf("ended %s after %d runs: %s", end.State, n.count(t, id), end.Message)
				}
			})
		}
	}
}

func TestWhatMayRunOnlyOnceIsNotRunAgainAfterAKill(t *testing.T) {
	for _, point := range points {
		t.Run("at "+point, func(t *testing.T) {
			t.Parallel()
			n, ids := killed(t, once, point)
			ended := n.wellAfter(t)
			interrupted := 0
			for _, id := range ids {
				end := ended[id]
				switch runs := n.count(t, id); {
				case runs > 1:
					t.Errorf("%s ran %d times", id, runs)
				case end.State == message.FailedEnd && end.Kind == fleet.Interrupted:
					interrupted++
				case end.State != message.Succeeded || runs != 1:
					t.Errorf("%s ended %s after %d runs: %s", id, end.State, runs, end.Message)
				}
			}
			// Each lane has one that may have been cut off, once it had begun.
			begun := point == agent.PointStarted || point == pointRunning || point == agent.PointDone
			if begun && interrupted == 0 || interrupted > 2 {
				t.Errorf("%d commands are said to have been interrupted", interrupted)
			}
			if before := point == agent.PointReceived || point == agent.PointQueued; before && interrupted > 0 {
				t.Errorf("%d commands are said to have been interrupted before they began", interrupted)
			}
		})
	}
}
