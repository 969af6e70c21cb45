package nginx_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func (n *node) pause(d time.Duration) nginx.Pause {
	n.t.Helper()
	p, err := n.Pause(n.t.Context(), nginx.Pause{By: "alice", Reason: "a look at the disk", For: d})
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func TestNothingIsHealedOrAppliedDuringAPause(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	n.looked()
	n.pause(time.Hour)
	n.wantEvent(nginx.EventPaused, "paused by alice for 1h0m0s: a look at the disk")
	file := n.hostFile("web")
	editFile(t, file, "hello", "by hand")
	n.wantEvent(nginx.EventDrifted, "virtualhost-web.conf (edited)", "during the pause")
	_, err := n.apply(2, site("web", port, "new"))
	var paused nginx.PausedError
	if !errors.As(err, &paused) || fleet.KindOf(err) != fleet.Paused || paused.Pause.By != "alice" {
		t.Errorf("%v", err)
	}
	n.crash()
	n.start()
	if s := n.status(); s.Paused == nil || s.Paused.Reason != "a look at the disk" || !hasText(file, "by hand") {
		t.Errorf("status %+v", s)
	}
	if _, err := n.Reload(t.Context(), false, 0); err != nil { // an order of its own
		t.Fatal(err)
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 by hand" {
		t.Error(got)
	}
	if was, err := n.Resume(t.Context(), "bob"); !was || err != nil {
		t.Error(was, err)
	}
	n.wantEvent(nginx.EventResumed, "the pause of alice is over: ended by bob")
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" || n.status().Paused != nil {
		t.Error(got)
	}
	if was, err := n.Resume(t.Context(), "bob"); was || err != nil {
		t.Error(was, err)
	}
	n.mustApply(2, site("web", port, "new"))
}

func TestAPauseRunsOutByItself(t *testing.T) {
	n := newNode(t)
	n.crash()
	var passed atomic.Int64
	n.cfg.Clock = func() time.Time { return time.Unix(1_000_000, passed.Load()) }
	n.cfg.Sweep = 100 * time.Millisecond
	n.start()
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	n.looked()
	n.pause(time.Hour)
	file := n.hostFile("web")
	editFile(t, file, "hello", "by hand")
	n.wantEvent(nginx.EventDrifted, "during the pause")
	passed.Store(int64(time.Hour))
	n.wantEvent(nginx.EventResumed, "its time is over")
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
	if _, err := os.Stat(filepath.Join(n.cfg.State, "pause.json")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// The node's own clock has no say; the broker's may come later than the pause.
func TestAPauseEndsByTheBrokersClock(t *testing.T) {
	n := newNode(t)
	n.crash()
	var now atomic.Int64
	n.cfg.Clock = func() time.Time {
		if now.Load() == 0 {
			return time.Time{}
		}
		return time.Unix(now.Load(), 0)
	}
	n.start()
	n.pause(time.Hour)
	if p := n.status().Paused; p == nil || !p.Until.IsZero() {
		t.Errorf("%+v", p)
	}
	now.Store(1_000_000)
	if p := n.status().Paused; p == nil || p.Until.Sub(time.Unix(1_000_000, 0)).Round(time.Minute) != time.Hour {
		t.Errorf("%+v", p)
	}
	now.Store(1_000_000 - 90_000) // a broker restored from a backup ends nothing early and nothing late
	if n.status().Paused == nil {
		t.Error("it is over")
	}
	now.Store(1_003_700)
	if p := n.status().Paused; p != nil {
		t.Errorf("%+v", p)
	}
}

// The file is that of another boot: only the time that was left counts.
func TestAPauseGoesOnAfterARestartOfTheHost(t *testing.T) {
	n := newNode(t)
	n.crash()
	must(t, os.WriteFile(filepath.Join(n.cfg.State, "pause.json"), []byte(`{"by":"alice","for":3600000000000,"boot":"another","end":5,"left":60000000000}`), 0o600))
	n.start()
	if p := n.status().Paused; p == nil || p.By != "alice" {
		t.Errorf("%+v", p)
	}
}

func TestALongPauseIsRefused(t *testing.T) {
	n := newNode(t)
	for _, d := range []time.Duration{0, -time.Second, 8 * 24 * time.Hour} {
		if _, err := n.Pause(t.Context(), nginx.Pause{By: "alice", For: d}); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%v: %v", d, err)
		}
	}
}
