package agent

import (
	"testing"
	"time"
)

const least = 5 * time.Second

func TestAnInterruptionOfAMomentIsNotToldAndCountedLater(t *testing.T) {
	var a absence
	now := time.Hour
	for range 4 {
		a.lost("cut", now)
		now += time.Second
		if r := a.back(now, least); r != nil {
			t.Fatalf("after a second %+v was told", r)
		}
		now += time.Minute
	}
	a.lost("cut again", now)
	now += 10 * time.Second
	a.lost("cut once more", now) // an attempt that failed
	now += 20 * time.Second
	r := a.back(now, least)
	if r == nil || r.Interruptions != 5 || r.OfflineSeconds != 34 || r.Reason != "cut again" {
		t.Errorf("told as %+v", r)
	}
	if r := a.back(now, least); r != nil {
		t.Errorf("told twice: %+v", r)
	}
}

func TestALinkThatFlapsIsToldOnceAMinute(t *testing.T) {
	var a absence
	told, seconds, count := 0, 0.0, 0
	begin := time.Hour
	now := begin
	for now < begin+time.Hour {
		a.lost("cut", now)
		now += 6 * time.Second
		if r := a.back(now, least); r != nil {
			told++
			seconds += r.OfflineSeconds
			count += r.Interruptions
		}
		now += 4 * time.Second
	}
	if told > 60 || told < 50 || count < 350 || seconds != 6*float64(count) {
		t.Errorf("an hour of flapping was told %d times: %d interruptions, %v s", told, count, seconds)
	}
}
