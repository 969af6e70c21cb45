package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// days is a duration flag that knows days and weeks too: 90m, 36h, 7d, 2w.
type days time.Duration

func (d *days) String() string { return time.Duration(*d).String() }
func (d *days) Type() string   { return "duration" }

func (d *days) Set(s string) error {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || n < 0 || n > 10000 {
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
