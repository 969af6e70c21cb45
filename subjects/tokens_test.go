package subjects_test

import (
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

func TestNoTokenHasANodesName(t *testing.T) {
	id := subjects.TokenID("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4")
	if fleet.CheckNode(id) == nil {
		t.Errorf("%s could be a node's name: both would hear the same replies", id)
	}
	if !subjects.ValidID(id) {
		t.Errorf("%s cannot be a token of a subject", id)
	}
}

func TestATokensKeysCanBeTold(t *testing.T) {
	for key, want := range map[string][3]string{
		"id":                                     {"id", "", ""},
		subjects.TokenUseKey("id", 12):           {"id", subjects.TokenUse, "12"},
		subjects.TokenWaitingKey("id", "ship1"):  {"id", subjects.TokenWaiting, "ship1"},
		subjects.TokenApprovedKey("id", "ship1"): {"id", subjects.TokenApproved, "ship1"},
	} {
		id, what, which, ok := subjects.ParseTokenKey(key)
		if !ok || [3]string{id, what, which} != want {
			t.Errorf("%s: %s %s %s %v", key, id, what, which, ok)
		}
	}
	if _, _, _, ok := subjects.ParseTokenKey("id.use"); ok {
		t.Error("half a key was taken")
	}
}
