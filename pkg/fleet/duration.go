package fleet

import (
	"strconv"
	"strings"
	"time"
)

// ParseDuration is time.ParseDuration for durations of people: it knows days
// and weeks too, 90s, 15m, 36h, 7d, 2w, and none below zero. The error is Invalid.
func ParseDuration(text string) (time.Duration, error) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || !(n >= 0 && n <= 10000) { // so NaN is refused too
				return 0, notADuration(text)
			}
			return time.Duration(n * float64(length)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, notADuration(text)
	}
	return d, nil
}

func notADuration(text string) error {
	return Errorf(Invalid, "%q is not a duration: use 90s, 15m, 36h, 7d or 2w", clip(text))
}
