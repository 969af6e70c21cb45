package agent_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

func TestWhateverAHandlerDoesIsAnsweredAndTheAgentLives(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]struct {
		state message.State
		kind  fleet.Kind
		text  string
	}{
		panics:  {message.FailedEnd, fleet.Internal, "the handler of panics panicked: out of cheese"},
		slow:    {message.FailedEnd, fleet.Timeout, "not ended within 100ms"},
		notJSON: {message.FailedEnd, fleet.Internal, "the result is not JSON"},
		huge:    {message.Succeeded, "", "large (the result was larger than an answer may be and is left out)"},
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			n := sharedSystem(t).newNode(t)
			stop := n.start(t, nil)
			id, end := n.do(t, n.command(method, "x", ""))
			if end.State != want.state || end.Kind != want.kind || !strings.Contains(end.Message, want.text) || end.Result != nil {
				t.Errorf("ended %s (%s): %.300s", end.State, end.Kind, end.Message)
			}
			n.wellAfter(t)
			// What the journal says of it is what was said.
			stop()
			n.start(t, nil)
			if again := n.wellAfter(t)[id]; again.State != want.state {
				t.Errorf("after a start it is %s", again.State)
			}
		})
	}
}
