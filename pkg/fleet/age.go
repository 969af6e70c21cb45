package fleet

import (
	"fmt"
	"time"
)

// Age is how long ago something was, in the one unit that says enough: "3d",
// "5h", "2m".
func Age(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}
