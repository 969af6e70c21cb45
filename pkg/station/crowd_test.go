package station

import (
	"errors"
	"testing"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
)

func TestWhoComesBeyondTheBoundIsToldWhenToComeAgain(t *testing.T) {
	c := &crowd{most: 3}
	var leave []func()
	for range 3 {
		out, err := c.enter(noon)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, out)
	}
	last := time.Duration(0)
	for range 10_000 {
		_, err := c.enter(noon)
		later := (*bus.Later)(nil)
		if !errors.As(err, &later) || fleet.KindOf(err) != fleet.Busy || later.After < last {
			t.Fatalf("the next is told %v, after one that was to wait %v", err, last)
		}
		last = later.After
	}
	if last < 5*time.Second || last > mostSpread {
		t.Errorf("the last of 10,000 is to wait for %v", last)
	}
	leave[0]()
	if _, err := c.enter(noon); err != nil {
		t.Errorf("there is room again, and: %v", err)
	}
	if answered, busy, peak := c.counts(); answered != 4 || busy != 10_000 || peak != 3 {
		t.Errorf("%d were answered, %d not, %d at once", answered, busy, peak)
	}
}

func TestTheMoreComeBackTheLongerTheySpread(t *testing.T) {
	c := &crowd{most: 3}
	come := func(n int, at time.Time) {
		for range n {
			leave, err := c.enter(at)
			if err != nil {
				t.Fatal(err)
			}
			leave()
		}
	}
	come(10, noon)
	if got := c.spread(noon); got != 10*time.Millisecond {
		t.Errorf("ten nodes spread over %v", got)
	}
	come(9_990, noon.Add(crowdWindow))
	if got := c.spread(noon.Add(crowdWindow)); got != 10*time.Second {
		t.Errorf("10,000 spread over %v", got)
	}
	come(990_000, noon.Add(crowdWindow))
	if got := c.spread(noon.Add(crowdWindow)); got != mostSpread {
		t.Errorf("a million spread over %v", got)
	}
	if got := c.spread(noon.Add(10 * crowdWindow)); got != 0 {
		t.Errorf("long after them it is %v", got)
	}
}
