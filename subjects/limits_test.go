package subjects_test

import (
	"slices"
	"strings"
	"testing"

	"fairlead/subjects"
)

func TestLimitedPermissionsDoNotChangeUnseen(t *testing.T) {
	for name, l := range map[string]subjects.Limits{
		"nodes":   {Nodes: []string{"ship1", "ship2"}},
		"methods": {Methods: []string{"reload"}},
	} {
		goldenJSON(t, "grant-operator-limited-to-"+name+".json", subjects.GrantLimited(subjects.Operator, sent[subjects.Operator], l))
	}
}

func TestALimitedUserMaySendWhatItIsLimitedToAndNothingElse(t *testing.T) {
	role := []string{"nginxconfig", "reload"}
	for _, l := range []subjects.Limits{
		{Nodes: []string{"ship1"}, Methods: []string{"reload"}},
		{Nodes: []string{"ship1", "ship2"}, Methods: role},
		{Methods: []string{"reload"}},
	} {
		p := subjects.GrantLimited(subjects.Operator, role, l)
		whole := subjects.Grant(subjects.Operator, role)
		if back := subjects.LimitsOf(p); !slices.Equal(back.Nodes, l.Nodes) || !slices.Equal(back.Methods, l.Methods) {
			t.Errorf("limits %+v come back as %+v", l, back)
		}
		if !slices.Equal(p.Subscribe, whole.Subscribe) {
			t.Errorf("%+v: may hear %v", l, p.Subscribe)
		}
		for _, node := range []string{"ship1", "ship2", "ship3"} {
			for _, method := range []string{"nginxconfig", "reload", "shellcommand"} {
				may := (len(l.Nodes) == 0 || slices.Contains(l.Nodes, node)) && slices.Contains(l.Methods, method)
				got := false
				for _, pattern := range p.Publish {
					got = got || overlap(pattern, "fleet."+node+".command."+method+".nginx.ID")
				}
				if got != may {
					t.Errorf("%+v: %s to %s: %v, want %v", l, method, node, got, may)
				}
			}
		}
		for _, pattern := range p.Publish {
			if strings.HasPrefix(pattern, "$KV.") {
				t.Errorf("%+v: may write %s, which concerns nodes that nobody named", l, pattern)
			}
		}
	}
}

func TestWhoMaySendConfigurationToEveryNodeMayWriteResources(t *testing.T) {
	p := subjects.GrantLimited(subjects.Operator, sent[subjects.Operator], subjects.Limits{Methods: []string{"nginxconfig"}})
	if !slices.Contains(p.Publish, subjects.KeySubject(subjects.Fleet, subjects.ResourceKey("VirtualHost", "*"))) {
		t.Errorf("may publish %v", p.Publish)
	}
}
