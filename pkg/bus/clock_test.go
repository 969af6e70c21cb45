package bus_test

import (
	"errors"
	"testing"
	"time"

	"fairlead/pkg/bus"
)

func TestTheClockNeverGoesBackAndIgnoresTheHosts(t *testing.T) {
	var c bus.Clock
	if !c.Now().IsZero() {
		t.Error("it knows a time that nobody told")
	}
	past := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) // the host is decades ahead
	c.Observe(past)
	now := c.Now()
	if now.Before(past) || now.After(past.Add(time.Minute)) {
		t.Errorf("told %s, it is %s", past, now)
	}
	c.Observe(past.Add(-time.Hour)) // an old message, read late
	if again := c.Now(); again.Before(now) {
		t.Errorf("it went from %s back to %s", now, again)
	}
	future := past.AddDate(50, 0, 0)
	c.Observe(future)
	if now := c.Now(); now.Before(future) || now.After(future.Add(time.Minute)) {
		t.Errorf("told %s, it is %s", future, now)
	}
}

func TestTheClockOnlyGrowsWhoeverTellsIt(t *testing.T) {
	var c bus.Clock
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.Observe(start)
	done := make(chan error, 4)
	for i := range cap(done) {
		go func() {
			last := c.Now()
			for n := range 2000 {
				c.Observe(start.Add(time.Duration((n*7919+i)%1000) * time.Second))
				now := c.Now()
				if now.Before(last) {
					done <- errors.New("it went from " + last.String() + " back to " + now.String())
					return
				}
				last = now
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := next(t, done); err != nil {
			t.Error(err)
		}
	}
}
