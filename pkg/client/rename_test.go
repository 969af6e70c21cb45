package client_test

import (
	"strings"
	"testing"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
)

func TestANodeIsRenamedThatIsThereOnceAndInNoRollout(t *testing.T) {
	node := func(presence string, in *station.NodeRollout) station.NodeDetail {
		return station.NodeDetail{NodeStatus: station.NodeStatus{Name: "ship1", Presence: presence}, Rollout: in}
	}
	if err := client.MayRename(node(station.Online, nil)); err != nil {
		t.Error("one that is there:", err)
	}
	for presence, says := range map[string]string{
		station.Offline: "rename it when it is back", station.NeverWas: "rename it when it is back", station.Uncertain: "rename it when it is back",
		station.Duplicate: "two agents live under the name ship1", station.Online: "rollout R1 has ship1 in it (wave 2 of 4)",
	} {
		var in *station.NodeRollout
		if presence == station.Online {
			in = &station.NodeRollout{ID: "R1", Phase: rollout.Queued, Progress: "wave 2 of 4"}
		}
		if err := client.MayRename(node(presence, in)); fleet.KindOf(err) != fleet.Refused || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", presence, err)
		}
	}
}
