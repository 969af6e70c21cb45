package handlers_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestAReloadSaysWhatNginxProved(t *testing.T) {
	for changed, says := range map[bool]string{
		true:  "reloaded: 3 new workers",
		false: "nginx was reloaded after this command had come: not done again",
	} {
		engine := &fakeNginx{verdict: nginx.Verdict{Changed: changed, Workers: 3}}
		r, err := run(t, &handlers.Node{Nginx: engine}, "reload", "{}")
		if err != nil || r.Message != says || r.Changed != changed || !reflect.DeepEqual(r.Data, engine.verdict) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	_, err := run(t, &handlers.Node{Nginx: &fakeNginx{err: fleet.Errorf(fleet.Timeout, "not proven")}}, "reload", "")
	kind(t, err, fleet.Timeout)
}

// A reload counts that came after the command did, or after its first run began.
func TestAReloadCountsFromItsArrivalOrItsFirstRun(t *testing.T) {
	for resumed, want := range map[bool]time.Duration{false: 5 * time.Second, true: 2 * time.Second} {
		engine := &fakeNginx{}
		c := handlers.Command[json.RawMessage]{Received: 5 * time.Second, Started: 2 * time.Second, Resumed: resumed}
		if _, err := command(t, t.Context(), &handlers.Node{Nginx: engine}, "reload", c); err != nil || engine.since != want {
			t.Errorf("resumed %v: since %s, %v", resumed, engine.since, err)
		}
	}
}

func TestACancellationNamesBothCommands(t *testing.T) {
	queue := &fakeQueue{}
	r, err := command(t, t.Context(), &handlers.Node{Queue: queue}, "cancel",
		handlers.Command[json.RawMessage]{ID: "THIS", Body: json.RawMessage(`{"id":"THAT"}`)})
	if err != nil || !r.Changed || r.Message != "called off THAT" || queue.id != "THAT" || queue.by != "THIS" {
		t.Errorf("%+v, %+v, %v", r, queue, err)
	}
}

func TestWhatCannotBeCancelledIsToldByItsKind(t *testing.T) {
	for _, want := range []fleet.Kind{fleet.Unknown, fleet.Conflict} {
		_, err := run(t, &handlers.Node{Queue: &fakeQueue{err: fleet.Errorf(want, "x")}}, "cancel", `{"id":"THAT"}`)
		kind(t, err, want)
	}
	queue := &fakeQueue{}
	for _, body := range []string{"", "{}", `{"id":""}`} {
		_, err := run(t, &handlers.Node{Queue: queue}, "cancel", body)
		kind(t, err, fleet.Invalid)
	}
	if queue.by != "" {
		t.Error("something was called off")
	}
}
