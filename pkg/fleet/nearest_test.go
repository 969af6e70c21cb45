package fleet_test

import (
	"testing"

	"fairlead/pkg/fleet"
)

func TestNearestIsTheWordThatWasMeant(t *testing.T) {
	known := []string{"wait", "waves", "message", "node1", "node12"}
	for word, want := range map[string]string{
		"wiat":    "wait", // neighbours that changed places are one mistake
		"watt":    "wait",
		"Message": "message",
		"mesage":  "message",
		"node2":   "node1",
		"nod12":   "node12",
		"frob":    "",
		"":        "",
	} {
		if got := fleet.Nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
