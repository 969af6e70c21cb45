package agent

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"fairlead/handlers"
)

func TestBytesOfTheLinkAreCountedBothWaysByDay(t *testing.T) {
	near, far := net.Pipe()
	var m meter
	c := m.wrap(near)
	echoed := make(chan error, 1)
	go func() {
		defer far.Close()
		if _, err := io.ReadFull(far, make([]byte, 30)); err != nil {
			echoed <- err
			return
		}
		_, err := far.Write(make([]byte, 12))
		echoed <- err
	}()
	if _, err := c.Write(make([]byte, 30)); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); err != nil || len(text) != 12 {
		t.Fatal(len(text), err)
	}
	if err := <-echoed; err != nil {
		t.Fatal(err)
	}
	if days := m.upTo(time.Time{}); len(days) != 0 {
		t.Errorf("before the broker's time is known there are %v", days)
	}
	night := time.Date(2026, 11, 27, 1, 0, 0, 0, time.FixedZone("", 2*60*60)) // the 26th in UTC
	for range 2 {                                                             // counted once
		if days, want := m.upTo(night), []handlers.LinkDay{{Day: "2026-11-26", InBytes: 12, OutBytes: 30}}; !slices.Equal(days, want) {
			t.Errorf("counted %v, want %v", days, want)
		}
	}
}

func TestOneWeekOfTheLinkIsKeptAcrossRestarts(t *testing.T) {
	var m meter
	day := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i := range 20 {
		if i%3 == 0 { // a restart
			before := m.upTo(day)
			m = meter{}
			m.began(before)
		}
		m.in.Add(1)
		m.out.Add(uint64(i))
		m.upTo(day.Add(-time.Hour))
		m.in.Add(1)
		m.upTo(day)
		day = day.AddDate(0, 0, 1)
	}
	days := m.upTo(day)
	if len(days) != linkDays {
		t.Fatalf("%d days are kept: %v", len(days), days)
	}
	for i, d := range days {
		want := handlers.LinkDay{Day: fmt.Sprintf("2026-11-%02d", 20-i), InBytes: 2, OutBytes: uint64(19 - i)}
		if d != want {
			t.Errorf("day %d is %v, want %v", i, d, want)
		}
	}
}

func TestADayThatIsStillToComeDoesNotHoldTheNextOnes(t *testing.T) {
	var m meter
	m.began([]handlers.LinkDay{{Day: "2036-01-01", InBytes: 5}, {Day: "2026-11-25", InBytes: 7}})
	m.in.Add(3)
	days := m.upTo(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC))
	if want := []handlers.LinkDay{{Day: "2026-11-26", InBytes: 3}, {Day: "2026-11-25", InBytes: 7}}; !slices.Equal(days, want) {
		t.Errorf("after a broker with a wrong clock there are %v, want %v", days, want)
	}
}
