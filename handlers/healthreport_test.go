package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

func TestAHealthReportSaysHowNginxAndTheHostAre(t *testing.T) {
	n := &handlers.Node{
		Nginx:       &fakeNginx{status: nginx.Status{Up: true, Version: "1.24.0", Workers: 2, Certificates: make([]nginx.ServedCertificate, 1000)}},
		Usage:       func(context.Context) (host.HostUsage, error) { return host.HostUsage{CPUPercent: 12}, nil },
		HealthEvery: 15 * time.Second,
	}
	r, err := run(t, n, "healthreport", "")
	report := r.Data.(handlers.HealthReport)
	if err != nil || r.Changed || r.Message != "nginx 1.24.0 is up with 2 workers" {
		t.Errorf("%+v, %v", r, err)
	}
	if report.Nginx.Workers != 2 || report.Host.CPUPercent != 12 || report.EverySeconds != 15 || len(report.Faults) != 0 || report.Nginx.Certificates != nil || time.Since(report.At) > patience {
		t.Errorf("%+v", report)
	}
}

func TestWhatCannotBeMeasuredIsToldBesideWhatCan(t *testing.T) {
	n := &handlers.Node{
		Nginx: &fakeNginx{statusErr: errors.New("no socket")},
		Usage: func(context.Context) (host.HostUsage, error) {
			return host.HostUsage{Load1: 2}, errors.New("no /proc/stat")
		},
	}
	r, err := run(t, n, "healthreport", "")
	report := r.Data.(handlers.HealthReport)
	if err != nil || r.Message != "nginx is down" || report.Host.Load1 != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if want := []string{"nginx: no socket", "host: no /proc/stat"}; !slices.Equal(report.Faults, want) {
		t.Errorf("faults are %q", report.Faults)
	}
}

// service runs a handler's service until the test, or stop, ends it.
func service(t *testing.T, n *handlers.Node, method string) (stop func()) {
	t.Helper()
	h, err := handlers.All().Find(method)
	if err != nil {
		t.Fatal(err)
	}
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, n) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := next(t, ended); err != nil {
			t.Errorf("the service ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestHealthReportsAreSentByThemselvesUntilTheEnd(t *testing.T) {
	events := newEvents(true)
	n := &handlers.Node{Nginx: &fakeNginx{status: nginx.Status{Up: true}}, Usage: noUsage, HealthEvery: time.Millisecond, Events: events}
	stop := service(t, n, "healthreport")
	for range 5 {
		e := next(t, events.took)
		var report handlers.HealthReport
		if err := json.Unmarshal(e.body, &report); err != nil || e.method != subjects.MethodHealth || e.domain != "nginx" || e.id != "" || !report.Nginx.Up {
			t.Errorf("sent %+v, %v", e, err)
		}
	}
	stop()
}

func TestHealthReportsWaitForTheLinkAndOutliveFailures(t *testing.T) {
	events := newEvents(false)
	n := &handlers.Node{Nginx: &fakeNginx{}, Usage: noUsage, HealthEvery: time.Millisecond, Events: events}
	stop := service(t, n, "healthreport")
	events.set(func(f *fakeEvents) { f.lose = true; close(f.up) })
	next(t, events.took) // told as lost
	next(t, events.took)
	stop()

	service(t, &handlers.Node{Nginx: &fakeNginx{}, Usage: noUsage, HealthEvery: time.Hour, Events: newEvents(false)}, "healthreport")() // ends without a link
}

func TestNoIntervalSendsNoHealthReport(t *testing.T) {
	h, err := handlers.All().Find("healthreport")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(t.Context(), &handlers.Node{}); err != nil { // returns by itself
		t.Error(err)
	}
}

func TestSevenDaysOfTheLinkAreToldOnCommandAndTwoByThemselves(t *testing.T) {
	days := []handlers.LinkDay{{Day: "2026-03-01", InBytes: 1, OutBytes: 2}, {Day: "2026-02-28", InBytes: 30, OutBytes: 4}, {Day: "2026-02-20", InBytes: 500}}
	events := newEvents(true)
	n := &handlers.Node{Nginx: &fakeNginx{}, Usage: noUsage, HealthEvery: time.Hour, Events: events, Link: func() []handlers.LinkDay { return days }}
	r, err := run(t, n, "healthreport", "")
	if err != nil {
		t.Fatal(err)
	}
	if use := r.Data.(handlers.HealthReport).Link; use == nil || use.Day != "2026-03-01" || use.InBytes != 1 || use.OutBytes != 2 || use.YesterdayBytes != 34 || !slices.Equal(use.Days, days) {
		t.Errorf("on command it says %+v", use)
	}
	service(t, n, "healthreport")
	var report handlers.HealthReport
	if err := json.Unmarshal(next(t, events.took).body, &report); err != nil || report.Link == nil || report.Link.InBytes != 1 || report.Link.YesterdayBytes != 34 || report.Link.Days != nil {
		t.Errorf("by itself it says %+v, %v", report.Link, err)
	}
	if use := handlers.UseOf(days[1:]); use.YesterdayBytes != 0 {
		t.Errorf("a day that lies further back is taken for yesterday: %+v", use)
	}
	if use := handlers.UseOf(nil); use != nil {
		t.Errorf("nothing that was counted is told as %+v", use)
	}
}
