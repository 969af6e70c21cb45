package station

import (
	"testing"
	"time"
)

func TestAFleetThatAnswersIsGivenTheTimeItTakes(t *testing.T) {
	const after = 5 * time.Second
	for _, c := range []struct {
		what              string
		waiting, answered int
		want              time.Duration
	}{
		{"nothing is answered", 10_000, 0, after},
		{"one waits behind many that were answered", 1, 5000, after},
		{"as many wait as were answered in that time", 5000, 5000, after},
		{"three times as many wait", 15_000, 5000, 3 * after},
		{"hardly anything is answered", 10_000, 1, mostPatience},
	} {
		if got := patience(after, c.waiting, c.answered); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestThePaceOfAnswersIsOfTheLastSeconds(t *testing.T) {
	var p pace
	begin := time.Unix(1_790_000_000, 0)
	for second := range 100 {
		for range second {
			p.count(begin.Add(time.Duration(second) * time.Second))
		}
	}
	end := begin.Add(99 * time.Second)
	for _, c := range []struct {
		since time.Time
		want  int
	}{{end, 99}, {end.Add(-2 * time.Second), 97 + 98 + 99}, {end.Add(time.Second), 0}, {begin, 99*100/2 - 67*68/2}} {
		if got := p.since(c.since); got != c.want {
			t.Errorf("since %s: %d, want %d", c.since.Sub(begin), got, c.want)
		}
	}
	p.turn(end.Unix() + 3)
	if got := p.since(end.Add(-time.Second)); got != 98+99 {
		t.Errorf("three seconds of silence later %d", got)
	}
	p.turn(end.Unix() + 1_000_000)
	if got := p.since(begin); got != 0 {
		t.Errorf("days later %d", got)
	}
}
