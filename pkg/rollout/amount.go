package rollout

import (
	"math"
	"strconv"
	"strings"

	"fairlead/pkg/fleet"
)

// Amount is a number of nodes, or a percentage of some. The zero value is none.
type Amount struct {
	count   int
	percent float64
}

// ParseAmount reads "3" or "5%".
func ParseAmount(s string) (a Amount, err error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	if percent {
		a.percent, err = strconv.ParseFloat(number, 64)
		if err != nil || !(a.percent > 0 && a.percent <= 100) { // so NaN is refused too
			return Amount{}, fleet.Errorf(fleet.Invalid, "%q is no percentage: use 0.1%% to 100%%", s)
		}
		return a, nil
	}
	if a.count, err = strconv.Atoi(number); err != nil || a.count < 0 {
		return Amount{}, fleet.Errorf(fleet.Invalid, "%q is no number of nodes and no percentage: use 3 or 5%%", s)
	}
	return a, nil
}

// Up is the amount of n, at most n; a part of a node is one.
func (a Amount) Up(n int) int {
	if a.percent > 0 {
		// 7 % of 100 is 7.000000000000001 in floating point, and not 8 nodes.
		return min(n, int(math.Ceil(a.percent*float64(n)/100-1e-9)))
	}
	return min(n, a.count)
}

// Down is the amount of n; a part of a node is none. A number is the number,
// also where it is more than n.
func (a Amount) Down(n int) int {
	if a.percent > 0 {
		return int(math.Floor(a.percent*float64(n)/100 + 1e-9))
	}
	return a.count
}

// IsZero reports whether it is none.
func (a Amount) IsZero() bool { return a == Amount{} }

// String is what ParseAmount reads.
func (a Amount) String() string {
	if a.percent > 0 {
		return strconv.FormatFloat(a.percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(a.count)
}

// MarshalText writes what ParseAmount reads.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAmount.
func (a *Amount) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAmount(string(text))
	return err
}
