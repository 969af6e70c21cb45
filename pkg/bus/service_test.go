package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// serve answers a query with a function, from one station.
func serve(t *testing.T, s *site, what string, handle func(ctx context.Context, body []byte) (any, error)) *bus.Conn {
	t.Helper()
	c := s.station()
	stop, err := c.Service(t.Context(), "fairlead-test", "1.0.0", "for tests",
		bus.Endpoint{Name: what, Subject: subjects.Query(what), Handle: func(ctx context.Context, _ string, body []byte) (any, error) { return handle(ctx, body) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	flush(t, c)
	return c
}

func TestAQuestionIsAnsweredByOneStation(t *testing.T) {
	s := bare(t)
	asked := atomic.Int32{}
	for range 3 {
		serve(t, s, "echo", func(_ context.Context, body []byte) (any, error) {
			asked.Add(1)
			return string(body), nil
		})
	}
	alice := s.admin()
	for range 9 {
		var answer string
		if err := alice.Ask(within(t), subjects.Query("echo"), map[string]int{"n": 7}, &answer); err != nil || answer != `{"n":7}` {
			t.Errorf("answered %q, %v", answer, err)
		}
	}
	if asked.Load() != 9 {
		t.Errorf("9 questions reached %d stations", asked.Load())
	}
}

func TestWhereNobodyServesAQuestionIsUnavailable(t *testing.T) {
	s := bare(t)
	alice := s.admin()
	err := alice.Ask(within(t), subjects.Query("echo"), nil, nil)
	if fleet.KindOf(err) != fleet.Unavailable || !strings.Contains(err.Error(), "fairlead station") {
		t.Errorf("kind %s: %v", fleet.KindOf(err), err)
	}
	station := s.station()
	stop, err := station.Service(t.Context(), "fairlead-test", "1.0.0", "", bus.Endpoint{Name: "echo", Subject: subjects.Query("echo"),
		Handle: func(context.Context, string, []byte) (any, error) { return 1, nil }})
	if err != nil {
		t.Fatal(err)
	}
	flush(t, station)
	var n int
	if err := alice.Ask(within(t), subjects.Query("echo"), nil, &n); err != nil || n != 1 {
		t.Error(n, err)
	}
	stop()
	flush(t, station)
	if err := alice.Ask(within(t), subjects.Query("echo"), nil, &n); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

func TestAnErrorReachesWhoAskedWithKindAndText(t *testing.T) {
	s := bare(t)
	var fault error
	serve(t, s, "fail", func(context.Context, []byte) (any, error) { return nil, fault })
	alice := s.admin()
	for _, want := range []error{
		fleet.Errorf(fleet.Unknown, "no node %q", "ship9"),
		fleet.Errorf(fleet.Conflict, "somebody was first"),
		fleet.Faults{{File: "a.yaml", Line: 1, Message: "one"}, {File: "a.yaml", Line: 2, Message: "two – »quoted«"}},
		errors.New("without a kind"),
		fleet.Errorf(fleet.Busy, ""),
	} {
		fault = want
		err := alice.Ask(within(t), subjects.Query("fail"), nil, nil)
		if fleet.KindOf(err) != fleet.KindOf(want) || err.Error() != want.Error() {
			t.Errorf("got kind %s %q, want %s %q", fleet.KindOf(err), err, fleet.KindOf(want), want)
		}
	}
}

func TestAnAnswerThatCannotBeSentIsToldAtOnce(t *testing.T) {
	s := bare(t)
	var answer any
	serve(t, s, "odd", func(context.Context, []byte) (any, error) { return answer, nil })
	alice := s.admin()
	for _, odd := range []any{make(chan int), strings.Repeat("x", 2<<20)} {
		answer = odd
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := alice.Ask(ctx, subjects.Query("odd"), nil, new(string))
		cancel()
		if fleet.KindOf(err) != fleet.Internal {
			t.Errorf("kind %s: %v", fleet.KindOf(err), err)
		}
	}
	answer = "text"
	if err := alice.Ask(within(t), subjects.Query("odd"), nil, new(int)); fleet.KindOf(err) != fleet.Internal {
		t.Errorf("an answer of another type: %v", err)
	}
}

func TestWhoAsksWaitsNoLongerThanItWants(t *testing.T) {
	s := bare(t)
	release := make(chan struct{})
	defer close(release)
	serve(t, s, "slow", func(context.Context, []byte) (any, error) { <-release; return nil, nil })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.admin().Ask(ctx, subjects.Query("slow"), nil, nil); fleet.KindOf(err) != fleet.Timeout {
		t.Errorf("kind %s: %v", fleet.KindOf(err), err)
	}
}

func TestASlowAnswerHoldsUpNoOther(t *testing.T) {
	s := bare(t)
	release := make(chan struct{})
	serve(t, s, "some", func(_ context.Context, body []byte) (any, error) {
		if string(body) == "1" {
			<-release
		}
		return string(body), nil
	})
	alice := s.admin()
	slow := make(chan error, 1)
	go func() { slow <- alice.Ask(within(t), subjects.Query("some"), 1, new(string)) }()
	for range 5 {
		if err := alice.Ask(within(t), subjects.Query("some"), 2, new(string)); err != nil {
			t.Error(err)
		}
	}
	close(release)
	if err := next(t, slow); err != nil {
		t.Error(err)
	}
}

func TestAServiceThatHasTooMuchToDoSaysWhenToAskAgain(t *testing.T) {
	s := bare(t)
	serve(t, s, "echo", func(context.Context, []byte) (any, error) {
		return nil, &bus.Later{After: 1500 * time.Millisecond, Err: fleet.Errorf(fleet.Busy, "too many ask")}
	})
	alice := s.admin()
	for range 50 { // the race detector sees who touches a request that was answered at once
		_ = alice.Ask(within(t), subjects.Query("echo"), nil, nil)
	}
	err := alice.Ask(within(t), subjects.Query("echo"), nil, nil)
	later := (*bus.Later)(nil)
	if !errors.As(err, &later) || later.After != 1500*time.Millisecond || fleet.KindOf(err) != fleet.Busy || err.Error() != "too many ask" {
		t.Errorf("the answer is %v, to ask again after %+v", err, later)
	}
}
