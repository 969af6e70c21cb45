package fleet_test

import (
	"testing"
	"time"

	"fairlead/pkg/fleet"
)

func TestAnAgeIsToldInOneUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0m", 119 * time.Second: "1m", 23*time.Hour + 59*time.Minute: "23h", 75 * time.Hour: "3d"} {
		if got := fleet.Age(d); got != want {
			t.Errorf("%v is told as %s, want %s", d, got, want)
		}
	}
}
