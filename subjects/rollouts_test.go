package subjects_test

import (
	"testing"

	"fairlead/subjects"
)

func TestKeysOfARolloutAreReadAsTheyAreBuilt(t *testing.T) {
	for key, want := range map[string][3]string{
		subjects.RolloutKey("R", subjects.RolloutPlan):                                   {"R", "plan", ""},
		subjects.RolloutKey("R", subjects.RolloutState):                                  {"R", "state", ""},
		subjects.RolloutKey("R", subjects.RolloutOrder):                                  {"R", "order", ""},
		subjects.RolloutDocKey("R", subjects.ResourceKey("VirtualHost", "shop")):         {"R", "doc", "VirtualHost.shop"},
		subjects.RolloutDocKey("R", subjects.ResourceKey("VirtualHost", "plan-of-shop")): {"R", "doc", "VirtualHost.plan-of-shop"},
	} {
		id, what, resource, ok := subjects.ParseRolloutKey(key)
		if got := [3]string{id, what, resource}; !ok || got != want {
			t.Errorf("%s is %v", key, got)
		}
	}
	for _, key := range []string{"", "lease", "R", "R.", "R.other", "R.doc", "R.doc.VirtualHost", "R.doc.VirtualHost.a.b", "R.plan.x"} {
		if id, what, _, ok := subjects.ParseRolloutKey(key); ok {
			t.Errorf("%s is %s of %s", key, what, id)
		}
	}
}
