package main

import (
	"fmt"

	"fairlead/pkg/station"
)

// rolloutText is what a rollout has to do with a node, "" where none is under way
// on it.
func rolloutText(r *station.NodeRollout) string {
	switch {
	case r == nil:
		return ""
	case r.Released:
		return fmt.Sprintf("rollout %s%s has released it with wave %d and is %s", r.ID, by(r.By), r.Wave, r.Progress)
	}
	return fmt.Sprintf("rollout %s%s holds it back for wave %d and is %s", r.ID, by(r.By), r.Wave, r.Progress)
}
