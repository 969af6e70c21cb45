package main

import (
	"fmt"
	"strings"
	"time"

	"fairlead/pkg/fleet"
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
	v, err := fleet.ParseDuration(s)
	*d = days(v)
	return err
}
