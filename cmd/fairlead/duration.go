package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"fairlead/subjects"
)

// days is a duration flag that knows days and weeks too: 90m, 36h, 7d, 2w.
type days time.Duration

// life is how long a command may wait; the store keeps none longer.
type life struct{ days }

func (l *life) Set(s string) error {
	var d days
	if err := d.Set(s); err != nil {
		return err
	}
	if least, most := days(time.Second), days(subjects.MaxCommandAge); d < least || d > most {
		return fmt.Errorf("use %s to %s", least.String(), most.String())
	}
	l.days = d
	return nil
}

// String is what a person would write: 7d, 36h, 15m, 1m30s.
func (d *days) String() string {
	v := time.Duration(*d)
	if v == 0 {
		return "0" // help shows no such default
	}
	if day := 24 * time.Hour; v >= day && v%day == 0 {
		return fmt.Sprintf("%dd", v/day)
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d *days) Type() string { return "duration" }

func (d *days) Set(s string) error {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || !(n >= 0 && n <= 10000) { // so NaN is refused too
				return fmt.Errorf("%q is not a duration: use 90s, 15m, 36h, 7d or 2w", s)
			}
			*d = days(n * float64(length))
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: use 90s, 15m, 36h, 7d or 2w", s)
	}
	*d = days(v)
	return nil
}
