package agent_test

import (
	"encoding/json"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func (n *node) cancel(method, id string) client.Command {
	body, _ := json.Marshal(handlers.CancelBody{ID: id})
	return client.Command{Subject: n.subject(subjects.MethodCancel, method), Body: body}
}

func TestAWaitingCommandCanBeCalledOff(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	n.begun(t, work, "x", "a")
	id := n.send(t, n.command(work, "x", ""))[0]
	by, end := n.do(t, n.cancel(work, id))
	if end.State != message.Succeeded || !end.Changed {
		t.Errorf("the cancellation ended %s: %s", end.State, end.Message)
	}
	n.open(t, "a")
	if end := n.end(t, id); end.State != message.Cancelled || end.By != by || n.count(t, id) > 0 {
		t.Errorf("ended %s by %q: %s", end.State, end.By, end.Message)
	}
	n.wellAfter(t)
}

func TestACommandToANodeThatIsAwayCanBeCalledOff(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	ids := n.send(t, n.command(work, "x", ""), n.command(work, "x", ""))
	by := n.send(t, n.cancel(work, ids[0]))[0]
	n.start(t, nil)
	if end := n.end(t, ids[0]); end.State != message.Cancelled || end.By != by || n.count(t, ids[0]) > 0 {
		t.Errorf("ended %s by %q: %s", end.State, end.By, end.Message)
	}
	if end := n.end(t, ids[1]); end.State != message.Succeeded {
		t.Errorf("the other ended %s", end.State)
	}
	n.wellAfter(t)
}

func TestWhatHasBegunOrEndedOrNeverWasCannotBeCalledOff(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	n.start(t, nil)
	ended, _ := n.do(t, n.command(work, "y", ""))
	running := n.begun(t, work, "x", "a")
	for _, test := range []struct {
		id   string
		kind fleet.Kind
	}{{running, fleet.Conflict}, {ended, fleet.Unknown}, {message.NewID(), fleet.Unknown}, {"", fleet.Invalid}} {
		if _, end := n.do(t, n.cancel(work, test.id)); end.State != message.Rejected || end.Kind != test.kind {
			t.Errorf("calling off %q ended %s (%s): %s", test.id, end.State, end.Kind, end.Message)
		}
	}
	n.open(t, "a")
	if end := n.end(t, running); end.State != message.Succeeded {
		t.Errorf("ended %s", end.State)
	}
	n.wellAfter(t)
}

// It may have had its effect in part; "called off" would be a lie.
func TestWhatWasCutOffByAKillCannotBeCalledOff(t *testing.T) {
	t.Parallel()
	n := sharedSystem(t).newNode(t)
	p := n.spawn(t, pointRunning)
	id := n.send(t, n.command(once, "x", ""))[0]
	p.killed(t)
	by := n.send(t, n.cancel(once, id))[0]
	n.spawn(t, "")
	if end := n.end(t, id); end.State != message.FailedEnd || end.Kind != fleet.Interrupted {
		t.Errorf("ended %s (%s): %s", end.State, end.Kind, end.Message)
	}
	if end := n.end(t, by); end.State != message.Rejected || end.Kind != fleet.Conflict {
		t.Errorf("the cancellation ended %s (%s): %s", end.State, end.Kind, end.Message)
	}
	n.wellAfter(t)
}
