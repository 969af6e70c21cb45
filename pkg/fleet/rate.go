package fleet

import (
	"strconv"
	"strings"
)

// rateUnits are the bytes of each unit of a rate, the longest names first.
var rateUnits = []struct {
	name  string
	bytes float64
}{{"kbit/s", 1000. / 8}, {"Mbit/s", 1e6 / 8}, {"bit/s", 1. / 8}, {"kB/s", 1000}, {"MB/s", 1e6}, {"B/s", 1}}

// ParseRate reads how much may pass a link, such as 64kbit/s, 1.5Mbit/s or 8kB/s, in
// bytes a second. The error is Invalid.
func ParseRate(text string) (int64, error) {
	for _, unit := range rateUnits {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0 && n*unit.bytes <= 1e12) { // so NaN is refused too
			break
		}
		return int64(n * unit.bytes), nil
	}
	return 0, Errorf(Invalid, "%q is not a rate: use a number and a unit, such as 64kbit/s, 2Mbit/s or 8kB/s", clip(text))
}
