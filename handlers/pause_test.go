package handlers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestAPauseIsTheSendersAndHasALength(t *testing.T) {
	for body, want := range map[string]time.Duration{``: time.Hour, `{"for":"30m","reason":"why"}`: 30 * time.Minute} {
		engine := &fakeNginx{}
		r, err := command(t, t.Context(), &handlers.Node{Name: "ship1", Nginx: engine}, "pause", handlers.Command[json.RawMessage]{From: "alice", Body: json.RawMessage(body)})
		if err != nil || !r.Changed || engine.paused.By != "alice" || engine.paused.For != want || !strings.Contains(r.Message, "`fairlead resume ship1` ends it") {
			t.Errorf("%s: %+v, %v, %+v", body, r, err, engine.paused)
		}
	}
	for _, body := range []string{`{"for":"soon"}`, `{"reason":"` + strings.Repeat("x", 501) + `"}`} {
		_, err := run(t, &handlers.Node{Nginx: &fakeNginx{}}, "pause", body)
		kind(t, err, fleet.Invalid)
	}
}

func TestResumeSaysWhetherThereWasAPause(t *testing.T) {
	engine := &fakeNginx{paused: nginx.Pause{For: time.Hour}}
	for _, changed := range []bool{true, false} {
		if r, err := run(t, &handlers.Node{Nginx: engine}, "resume", ""); err != nil || r.Changed != changed {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// A revision that comes during a pause has not failed: it waits.
func TestARevisionThatComesDuringAPauseIsRejectedAndNotReportedAsFailed(t *testing.T) {
	document, _ := desired(t, 8)
	paused := nginx.PausedError{Pause: nginx.Pause{By: "alice", For: time.Hour, Reason: "why"}}
	engine := &fakeNginx{err: fleet.Errorf(fleet.Paused, "%w", paused), status: nginx.Status{Running: "old", Whole: 5, Revision: 5, Paused: &paused.Pause}}
	state := &fakeState{desired: document}
	_, err := run(t, &handlers.Node{Name: "ship1", Nginx: engine, State: state}, "nginxconfig", "")
	kind(t, err, fleet.Paused)
	if want := "revision 8 waits: paused by alice for 1h0m0s: why; the newest revision is applied when the pause ends; `fairlead resume ship1` ends the pause"; err == nil || err.Error() != want {
		t.Error(err)
	}
	if got := state.reports; len(got) != 1 || got[0].Status != handlers.StatusApplied || got[0].Revision != 5 || got[0].ObservedRevision != 5 || got[0].Paused == nil {
		t.Errorf("reported %+v", got)
	}
}

func TestWhatWasChangedByHandIsTheResult(t *testing.T) {
	engine := &fakeNginx{changes: nginx.Changes{Files: []nginx.DriftFile{{Path: "a", Change: "edited"}}, Diff: "-a\n+b\n"}}
	r, err := run(t, &handlers.Node{Nginx: engine}, "nginxdiff", "")
	if c, ok := r.Data.(nginx.Changes); err != nil || r.Changed || r.Message != "1 file differs from what Fairlead put there" || !ok || c.Diff != "-a\n+b\n" {
		t.Errorf("%+v, %v", r, err)
	}
}
