package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fairlead/pkg/fleet"
)

// pastTime is a flag for a moment that is over: a time in any form in which Fairlead
// prints one, or how long ago it was.
type pastTime struct {
	time.Time
	text string // as it was written
}

// lately is so long ago.
func lately(d time.Duration) pastTime {
	ago := days(d)
	return pastTime{time.Now().Add(-d), ago.String()}
}

func (p *pastTime) flag(f *pflag.FlagSet, what string) {
	f.Var(p, "since", what+"; `TIME` is "+pastForms)
}

func (p *pastTime) Set(text string) error {
	at, err := parsePast(text, time.Now())
	if err == nil {
		*p = pastTime{at, strings.TrimSpace(text)}
	}
	return err
}

func (p *pastTime) String() string { return p.text }

// Type is shown in the help.
func (p *pastTime) Type() string { return "TIME" }

// whole is the end of the second that was written: what is printed leaves out the
// fraction, and what happened at that time is to be seen.
func (p *pastTime) whole() time.Time {
	if _, err := parseAgo(p.text); err == nil || p.Nanosecond() != 0 {
		return p.Time
	}
	end := p.Add(time.Second - time.Nanosecond)
	if now := time.Now(); end.After(now) {
		return now
	}
	return end
}

// since is how far something looks back, for people.
func (p *pastTime) since() string {
	if _, err := parseAgo(p.text); err == nil {
		return "in the last " + strings.TrimSuffix(p.text, agoWord)
	}
	return "since " + moment(p.Time)
}

// pastForms are the forms of a time, for people; without a zone it is this host's.
const pastForms = "14:00, 2026-11-26 14:00:00, 2026-11-26T14:00:00Z, yesterday 14:00, or how long ago: 2h, 7d"

// layouts are those that Fairlead prints: without a zone they are this host's. A fraction
// may follow the seconds.
var layouts = []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00", time.DateTime, "2006-01-02 15:04", time.DateOnly}

// parsePast reads a moment that is over at now.
func parsePast(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if ago, err := parseAgo(text); err == nil && ago >= 0 { // less than that are more centuries than it can hold
		return now.Add(-ago), nil
	}
	at, found := parseTime(text, now)
	switch {
	case !found:
		return at, fmt.Errorf("%q is no time: write %s", text, pastForms)
	case at.After(now):
		return at, fmt.Errorf("%s is still to come", at.Format(time.RFC3339))
	}
	return at, nil
}

const agoWord = " ago"

// parseAgo reads a duration of people, and what span makes of one: 4h12m ago, 3d04h.
func parseAgo(text string) (time.Duration, error) {
	text = strings.TrimSuffix(text, agoWord)
	whole, rest, both := strings.Cut(text, "d")
	if n, err := strconv.ParseUint(whole, 10, 16); both && rest != "" && err == nil {
		d, err := fleet.ParseDuration(rest)
		return time.Duration(n)*24*time.Hour + d, err
	}
	return fleet.ParseDuration(text)
}

// parseTime reads a time; its day may be named, and without one is today.
func parseTime(text string, now time.Time) (at time.Time, found bool) {
	now = now.Local()
	if clock, utc := strings.CutSuffix(text, " UTC"); utc {
		text, now = clock+"Z", now.UTC()
	}
	if day := len(time.DateOnly); len(text) > day && text[day] == 'T' {
		text = text[:day] + " " + text[day+1:]
	}
	today := now.Format(time.DateOnly)
	switch day, clock, _ := strings.Cut(text, " "); {
	case day == "yesterday":
		text = now.AddDate(0, 0, -1).Format(time.DateOnly) + " " + clock
	case day == "today":
		text = today + " " + clock
	case strings.Contains(day, ":"):
		text = today + " " + text
	}
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, strings.TrimSpace(text), time.Local); err == nil {
			return at, true
		}
	}
	return at, false
}
