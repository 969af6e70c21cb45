package main

import (
	"strings"
	"testing"
	"time"
)

// Whoever copies a time from what a command printed can give it to another.
func TestEveryTimeThatIsPrintedIsTaken(t *testing.T) {
	at := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	now := at.Add(50*time.Hour + 300*time.Millisecond)
	long := now.Add(-(3*24 + 4) * time.Hour)
	exactly := at.Add(123 * time.Millisecond)
	for text, want := range map[string]time.Time{
		moment(at):                                        at,
		at.Local().Format(time.RFC3339):                   at,
		at.UTC().Format(time.RFC3339):                     at,
		exactly.UTC().Format(time.RFC3339Nano):            exactly,
		exactly.Local().Format("2006-01-02 15:04:05.000"): exactly,
		at.UTC().Format(time.DateTime) + "Z":              at,
		at.UTC().Format(time.DateTime) + " UTC":           at,
		at.Local().Format("2006-01-02T15:04:05"):          at,
		at.Local().Format("2006-01-02 15:04"):             at.Truncate(time.Minute),
		at.UTC().Format("2006-01-02 15:04") + " UTC":      at.Truncate(time.Minute),
		" " + moment(at) + "\n":                           at,
		ago(long, now):                                    long,
		span(now.Sub(long)):                               long,
		ago(now.Add(-90*time.Minute), now):                now.Add(-90 * time.Minute),
		"10m":                                             now.Add(-10 * time.Minute),
		"7d":                                              now.Add(-7 * 24 * time.Hour),
		"0s":                                              now,
	} {
		if got, err := parsePast(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is read as %v, and not as %v: %v", text, got, want, err)
		}
	}
}

func TestADayMayBeNamedOrLeftOut(t *testing.T) {
	now := time.Date(2026, time.March, 1, 15, 30, 0, 0, time.Local)
	day := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, time.March, day, hour, minute, second, 0, time.Local)
	}
	for text, want := range map[string]time.Time{
		"14:00":              day(1, 14, 0, 0),
		"14:00:07":           day(1, 14, 0, 7),
		"today 14:00":        day(1, 14, 0, 0),
		"today":              day(1, 0, 0, 0),
		"yesterday 23:59:59": day(0, 23, 59, 59),
		"yesterday":          day(0, 0, 0, 0),
		"2026-02-27":         day(-1, 0, 0, 0),
	} {
		if got, err := parsePast(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is read as %v, and not as %v: %v", text, got, want, err)
		}
	}
}

func TestWhatIsNoMomentThatIsOverIsRefused(t *testing.T) {
	now := time.Date(2026, time.March, 1, 15, 30, 0, 0, time.Local)
	for text, says := range map[string]string{
		"":                        "is no time: write 14:00, ",
		"tomorrow":                "is no time",
		"-2h":                     "is no time",
		"65535d10000w":            "is no time",
		"12.03.2026":              "is no time",
		"2026-02-30":              "is no time",
		"2026-02-27 14:00:00 CET": "is no time", // which is another time for everybody
		"16:00":                   "is still to come",
		"2999-01-01T00:00:00Z":    "is still to come",
		"today 16:00":             "is still to come",
	} {
		if got, err := parsePast(text, now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is read as %v: %v", text, got, err)
		}
	}
}
