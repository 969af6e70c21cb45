package nginx_test

import (
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func bakes(time string) fleet.Resource {
	return resource("policy", &fleet.NodePolicy{Bake: &fleet.Bake{Time: time, MaxErrorPercent: 20, MinRequests: 10}})
}

// answering is a site that answers a status.
func answering(port, code int) fleet.Resource {
	return resource("web", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port}}, ServerNames: []string{"web.example.org"},
		Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: code, Text: "x"}}}})
}

// asks asks the site until something holds.
func (n *node) asks(port int, what string, holds func() bool) {
	n.t.Helper()
	eventually(n.t, what, func() bool { n.get(port, "web.example.org", "/"); return holds() })
}

func TestVersionThatServesWorseIsRolledBackDuringItsBake(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, bakes("1m"), answering(port, 200))
	if n.status().Bake != nil {
		t.Error("the first version bakes, and there is nothing to go back to")
	}
	for range 30 {
		n.get(port, "web.example.org", "/")
	}
	bad := n.mustApply(2, bakes("1m"), answering(port, 500))
	s := n.status()
	if s.Bake == nil || s.Bake.Revision != 2 || s.Revision != 2 || s.Running != bad.Digest || s.Bake.Until.IsZero() || s.Bake.Before.Answers == 0 {
		t.Errorf("%+v, %+v", s, s.Bake)
	}
	n.asks(port, "it is rolled back", func() bool { return n.status().Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 2", "rolled back during bake: ", "% of ", " answers were 5xx, 0% before, most of them by web.example.org", "revision 1", "serves again")
	eventually(t, "the bake is over", func() bool { return n.status().Bake == nil })
	if s := n.status(); s.Revision != 1 || s.Disk != good.Digest || len(s.Quarantine) != 1 || s.Quarantine[0].Digest != bad.Digest {
		t.Errorf("%+v", s)
	}
	_, err := n.apply(2, bakes("1m"), answering(port, 500))
	wantFailure(t, err, "revision 2", "rolled back during bake", "in quarantine")
	n.mustApply(3, bakes("1m"), answering(port, 202))
}

// An access_log of a host hides those above it, and "off" would hide the
// agent's own too.
func TestHostWithALogOfItsOwnIsCountedToo(t *testing.T) {
	for _, target := range []string{"off", "file"} {
		n := newNode(t)
		port := n.freePort()
		logged := func(code int) fleet.Resource {
			r := answering(port, code)
			r.Spec.(*fleet.VirtualHost).Log = &fleet.Log{Target: target}
			return r
		}
		good := n.mustApply(1, bakes("1h"), logged(200))
		n.mustApply(2, bakes("1h"), logged(500))
		n.asks(port, "it is rolled back", func() bool { return n.status().Running == good.Digest })
	}
}

func TestVersionThatStandsItsBakeBecomesTheLastGoodOne(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, bakes("1s"), answering(port, 200))
	v := n.mustApply(2, bakes("1s"), answering(port, 201))
	n.asks(port, "it is baked", func() bool { return n.status().Bake == nil })
	n.wantEvent(nginx.EventBaked, "revision 2", "0% of ")
	if s := n.status(); s.Running != v.Digest || s.Revision != 2 {
		t.Errorf("%+v", s)
	}
	n.crash()
	n.start()
	if s := n.status(); s.Running != v.Digest || s.Revision != 2 || s.Bake != nil {
		t.Errorf("after a restart: %+v", s)
	}
}

func TestBakeGoesOnAfterARestartOfTheAgent(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, bakes("1h"), answering(port, 200))
	bad := n.mustApply(2, bakes("1h"), answering(port, 500))
	workers := n.workers()
	n.crash()
	n.start()
	if s := n.status(); s.Bake == nil || s.Revision != 2 || s.Running != bad.Digest || n.workers() != workers {
		t.Fatalf("%+v", s)
	}
	if v, err := n.apply(3, bakes("1h"), answering(port, 500)); err != nil || v.Changed || v.Revision != 3 || n.status().Bake.Revision != 3 {
		t.Errorf("the same bundle under another revision: %+v, %v", v, err)
	}
	n.asks(port, "it is rolled back", func() bool { return n.status().Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 3", "rolled back during bake")
}

// What fails leaves what it met as it was: on trial.
func TestVersionThatFailsDuringABakeGoesBackToWhatBakes(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, bakes("1h"), answering(port, 200))
	bad := n.mustApply(2, bakes("1h"), answering(port, 500))
	loop := raw("loop", "server { listen "+n.listen(port)+"; server_name loop.example.org; location / { root /nonexistent; try_files /a /b; } }")
	_, err := n.apply(3, bakes("1h"), answering(port, 202), loop)
	wantFailure(t, err, "answers 500", "revision 2", "serves again")
	if s := n.status(); s.Bake == nil || s.Bake.Revision != 2 || s.Revision != 2 || s.Running != bad.Digest {
		t.Errorf("%+v, %+v", s, s.Bake)
	}
	n.crash() // the next agent knows of both
	n.start()
	if s := n.status(); s.Bake == nil || s.Bake.Revision != 2 || s.Running != bad.Digest {
		t.Errorf("after a restart of the agent: %+v, %+v", s, s.Bake)
	}
	n.asks(port, "the trial goes on and fails", func() bool { return n.status().Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 2", "answers were 5xx", "revision 1", "serves again")

	n.mustApply(4, bakes("1h"), answering(port, 202))
	if s := n.status(); s.Bake == nil || s.Bake.Revision != 4 {
		t.Errorf("%+v", s)
	}
	n.mustApply(5, bakes("1h"), answering(port, 501)) // takes the place of the one that bakes, which has not stood its trial
	if s := n.status(); s.Bake == nil || s.Bake.Revision != 5 {
		t.Errorf("%+v", s)
	}
	n.asks(port, "the last good one serves", func() bool { return n.status().Running == good.Digest })
}

// One death may be somebody's doing; two are the version's.
func TestVersionUnderWhichNginxDiesTwiceIsTakenBack(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, bakes("1h"), answering(port, 200))
	n.mustApply(2, bakes("1h"), answering(port, 201))
	kill := func() {
		t.Helper()
		if err := syscall.Kill(n.status().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	n.wantEvent(nginx.EventRecovered, "killed by SIGKILL", "started with revision 2", "goes on baking")
	if s := n.status(); !s.Up || s.Bake == nil || s.Bake.Revision != 2 || len(s.Quarantine) != 0 || n.get(port, "web.example.org", "/") != "201 x" {
		t.Fatalf("%+v, %+v", s, s.Bake)
	}
	kill()
	eventually(t, "the last good one serves", func() bool { s := n.status(); return s.Up && s.Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 2", "nginx ended twice")
	if s := n.status(); s.Bake != nil || len(s.Quarantine) != 1 {
		t.Errorf("%+v", s)
	}

	// The same while no agent looks: the next one starts it once.
	n.mustApply(3, bakes("1h"), answering(port, 202))
	for _, baking := range []bool{true, false} {
		pid := n.status().PID
		n.crash()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		n.start()
		if s := n.status(); s.PID == pid || (s.Bake != nil) != baking {
			t.Errorf("pid was %d, %+v", pid, s)
		}
	}
	if s := n.status(); s.Bake != nil || s.Running != good.Digest || len(s.Quarantine) != 2 {
		t.Errorf("%+v", s)
	}
	n.wantEvent(nginx.EventRolledBack, "revision 3", "nginx ended twice")
}

func TestVersionWhoseWorkersDieIsTakenBack(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	good := n.mustApply(1, bakes("1h"), answering(port, 200))
	n.mustApply(2, bakes("1h"), answering(port, 201))
	kill := func(s syscall.Signal) {
		t.Helper()
		before := n.workers()
		if err := syscall.Kill(atoi(strings.Fields(strings.Trim(before, "[]"))[0]), s); err != nil {
			t.Fatal(err)
		}
		eventually(t, "there is another worker", func() bool { now := n.workers(); return now != before && strings.Count(now, " ") == 1 })
	}
	kill(syscall.SIGKILL) // as a person or a want of memory does
	kill(syscall.SIGKILL)
	eventually(t, "the last good one serves", func() bool { return n.status().Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 2", "2 workers died of a signal, 0 before")

	n.mustApply(3, bakes("1h"), answering(port, 202))
	kill(syscall.SIGSEGV) // which nobody else sends
	eventually(t, "the last good one serves again", func() bool { return n.status().Running == good.Digest })
	n.wantEvent(nginx.EventRolledBack, "revision 3", "1 workers died of a signal")
}

func TestBakeJudgesByLimitAndByTheTimeBefore(t *testing.T) {
	for _, c := range []struct {
		name           string
		now, before    nginx.Answered
		percent, least int
		ends           bool
	}{
		{"too few answers", nginx.Answered{Answers: 19, Errors: 19}, nginx.Answered{Answers: 100}, 5, 20, false},
		{"past the limit", nginx.Answered{Answers: 100, Errors: 6}, nginx.Answered{Answers: 100}, 5, 20, true},
		{"at the limit", nginx.Answered{Answers: 100, Errors: 5}, nginx.Answered{Answers: 100}, 5, 20, false},
		{"past the limit, and no worse than before", nginx.Answered{Answers: 100, Errors: 30}, nginx.Answered{Answers: 100, Errors: 40}, 5, 20, false},
		{"no limit, no more than before", nginx.Answered{Answers: 1000, Errors: 12}, nginx.Answered{Answers: 1000, Errors: 10}, 0, 20, false},
		{"no limit, one error by chance", nginx.Answered{Answers: 20, Errors: 1}, nginx.Answered{Answers: 1000}, 0, 20, false},
		{"no limit, clearly more", nginx.Answered{Answers: 1000, Errors: 30}, nginx.Answered{Answers: 1000, Errors: 10}, 0, 20, true},
		{"no limit, nothing known of before", nginx.Answered{Answers: 100, Errors: 40}, nginx.Answered{}, 0, 20, false},
		{"no limit, nothing known, mostly errors", nginx.Answered{Answers: 100, Errors: 60}, nginx.Answered{}, 0, 20, true},
	} {
		if got := nginx.TooMany(c.now, c.before, c.percent, c.least); got != c.ends {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func atoi(text string) (n int) {
	for _, c := range text {
		n = 10*n + int(c-'0')
	}
	return n
}
