package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// desired is a document that renders to its own digest.
func desired(t *testing.T, revision uint64) (document []byte, bundle nginx.Bundle) {
	t.Helper()
	bundle, err := nginx.Render("127.0.0.7", nil)
	if err != nil {
		t.Fatal(err)
	}
	document, err = json.Marshal(nginx.Desired{Revision: revision, Digest: bundle.Digest, Address: "127.0.0.7"})
	if err != nil {
		t.Fatal(err)
	}
	return document, bundle
}

func TestTheNewestRevisionIsAppliedAndReported(t *testing.T) {
	document, bundle := desired(t, 8)
	for changed, says := range map[bool]string{true: "revision 8 serves", false: "revision 8 served already"} {
		engine := &fakeNginx{verdict: nginx.Verdict{Changed: changed, Revision: 8, Digest: bundle.Digest}, status: nginx.Status{Running: "running", Revision: 8}}
		state := &fakeState{desired: document}
		r, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxconfig", `{"revision":7}`)
		if err != nil || r.Changed != changed || r.Message != says || !reflect.DeepEqual(r.Data, engine.verdict) {
			t.Errorf("%+v, %v", r, err)
		}
		if engine.desired.Revision != 8 || engine.desired.Digest != bundle.Digest {
			t.Errorf("applied are revision %d and %s", engine.desired.Revision, engine.desired.Digest)
		}
		want := handlers.Reported{ObservedRevision: 8, Digest: bundle.Digest, Revision: 8, Status: handlers.StatusApplied, RunningDigest: "running"}
		if got := state.reports; len(got) != 1 || !reflect.DeepEqual(untimed(t, got[0]), want) {
			t.Errorf("reported %+v", got)
		}
	}
}

func untimed(t *testing.T, r handlers.Reported) handlers.Reported {
	t.Helper()
	if time.Since(r.At) > patience {
		t.Errorf("reported at %s", r.At)
	}
	r.At = time.Time{}
	return r
}

// The revision that is observed moves on proof alone.
func TestAFailureIsReportedWithWhatRunsInstead(t *testing.T) {
	document, _ := desired(t, 8)
	failure := fleet.Errorf(fleet.Failed, `unknown directive "sever" in site.conf:3`)
	engine := &fakeNginx{err: failure, status: nginx.Status{Running: "old", Revision: 6, Whole: 5}}
	state := &fakeState{desired: document}
	_, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxconfig", "")
	kind(t, err, fleet.Failed)
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	want := handlers.Reported{ObservedRevision: 5, Digest: "old", Revision: 8, Status: handlers.StatusFailed, Message: failure.Error(), RunningDigest: "old"}
	if got := state.reports; len(got) != 1 || !reflect.DeepEqual(untimed(t, got[0]), want) {
		t.Errorf("reported %+v", got)
	}
}

func TestWhatNginxDoesNotSayIsNotReported(t *testing.T) {
	document, _ := desired(t, 8)
	engine := &fakeNginx{verdict: nginx.Verdict{Revision: 8}, statusErr: errors.New("no socket")}
	state := &fakeState{desired: document}
	if _, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxconfig", ""); err != nil {
		t.Fatal(err)
	}
	if got := state.reports; len(got) != 1 || got[0].ObservedRevision != 0 || got[0].RunningDigest != "" {
		t.Errorf("reported %+v", got)
	}
}

func TestARevisionThatCannotBeReadYetIsUnavailable(t *testing.T) {
	document, _ := desired(t, 8)
	engine, state := &fakeNginx{}, &fakeState{desired: document}
	_, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxconfig", `{"revision":9}`)
	kind(t, err, fleet.Unavailable)
	if want := "revision 9 is asked for and 8 is the newest that can be read"; err == nil || err.Error() != want {
		t.Error(err)
	}
	if engine.applied != 0 || len(state.reports) != 0 {
		t.Errorf("applied %d, reported %+v", engine.applied, state.reports)
	}
}

// A resource that is held back is a failure of the command, told by name, and
// the observed revision stays.
func TestARevisionThatServesInPartIsReportedResourceByResource(t *testing.T) {
	document, _ := desired(t, 8)
	bad := nginx.ResourceState{Resource: "VirtualHost/x", State: nginx.Kept, Message: "nonsense in line 3", Revision: 6}
	good := nginx.ResourceState{Resource: "VirtualHost/a", State: nginx.Serving, Revision: 8}
	engine := &fakeNginx{verdict: nginx.Verdict{Changed: true, Revision: 8, Digest: "part"}, resources: []nginx.ResourceState{good, bad},
		status: nginx.Status{Running: "part", Revision: 8, Whole: 6}}
	state := &fakeState{desired: document}
	_, err := run(t, &handlers.Node{Nginx: engine, State: state}, "nginxconfig", "")
	kind(t, err, fleet.Failed)
	summary := "1 of 2 resources serve revision 8; VirtualHost/x: kept at revision 6: nonsense in line 3"
	if err == nil || err.Error() != summary {
		t.Error(err)
	}
	want := handlers.Reported{ObservedRevision: 6, Digest: "part", Revision: 8, Status: handlers.StatusPartial, Message: summary, RunningDigest: "part",
		Hosts: []nginx.ResourceState{bad, good}}
	if got := state.reports; len(got) != 1 || !reflect.DeepEqual(untimed(t, got[0]), want) {
		t.Errorf("reported %+v", got)
	}
}

func TestADesiredStateThatCannotBeReadIsToldByItsKind(t *testing.T) {
	for _, state := range []*fakeState{{err: fleet.Errorf(fleet.Unknown, "no desired state")}, {err: fleet.Errorf(fleet.Refused, "not a station's")}} {
		_, err := run(t, &handlers.Node{Nginx: &fakeNginx{}, State: state}, "nginxconfig", "")
		kind(t, err, fleet.KindOf(state.err))
	}
	_, err := run(t, &handlers.Node{Nginx: &fakeNginx{}, State: &fakeState{desired: []byte("{")}}, "nginxconfig", "")
	kind(t, err, fleet.Invalid)
}

func TestWhatWasCutOffIsNotReported(t *testing.T) {
	document, _ := desired(t, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	state := &fakeState{desired: document}
	n := &handlers.Node{Nginx: &fakeNginx{err: ctx.Err()}, State: state}
	if _, err := command(t, ctx, n, "nginxconfig", handlers.Command[json.RawMessage]{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(state.reports) != 0 {
		t.Errorf("reported %+v", state.reports)
	}
}
