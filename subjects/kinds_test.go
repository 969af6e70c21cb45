package subjects_test

import (
	"slices"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// A kind without a row could be written by nobody, and one that has nginx do
// as root what it says is an administrator's alone.
func TestEveryKindOfResourceHasItsWriters(t *testing.T) {
	for _, kind := range fleet.Kinds() {
		i := slices.IndexFunc(subjects.Table(), func(r subjects.Row) bool { return r.Subject == "$KV.fleet."+kind+".*" })
		if i < 0 {
			t.Errorf("nobody may write a %s: add it to the table", kind)
			continue
		}
		writers := subjects.Table()[i].Publishes
		alone := kind == "ConfigFile" || kind == "NodePolicy"
		if !slices.Contains(writers, subjects.Admin) || slices.Contains(writers, subjects.Operator) == alone {
			t.Errorf("a %s is written by %v", kind, writers)
		}
	}
}
