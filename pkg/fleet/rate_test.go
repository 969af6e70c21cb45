package fleet_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

func TestRatesAreReadWithTheirUnit(t *testing.T) {
	for text, want := range map[string]int64{
		"64kbit/s": 8000, "64 kbit/s": 8000, "1.5Mbit/s": 187500, "8000bit/s": 1000, "8kB/s": 8000, "2MB/s": 2e6, "900B/s": 900, "0kbit/s": 0,
	} {
		if got, err := fleet.ParseRate(text); err != nil || got != want {
			t.Errorf("%q is %d bytes a second (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "64", "kbit/s", "-1kbit/s", "64kbit", "64kbps", "64Kbit/s", "64KB/s", "NaNkB/s", "+InfB/s", "1e30B/s", "0x10 bytes", "64 k B/s"} {
		_, err := fleet.ParseRate(text)
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "64kbit/s") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
