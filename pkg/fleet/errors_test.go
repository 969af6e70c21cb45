package fleet_test

import (
	"errors"
	"fmt"
	"testing"

	"fairlead/pkg/fleet"
)

func TestTheOutermostKindCounts(t *testing.T) {
	inner := fleet.Errorf(fleet.Busy, "queue of %q is full", "ship1")
	var none fleet.Faults
	for want, err := range map[fleet.Kind]error{
		"":             nil,
		fleet.Busy:     fmt.Errorf("publish: %w", inner),
		fleet.Failed:   fleet.Errorf(fleet.Failed, "apply: %w", inner),
		fleet.Invalid:  fmt.Errorf("load: %w", fleet.Faults{{Message: "x"}}.Err()),
		fleet.Internal: errors.New("something"),
	} {
		if got := fleet.KindOf(err); got != want {
			t.Errorf("%v is of kind %q, want %q", err, got, want)
		}
	}
	if none.Err() != nil {
		t.Error("no faults are an error")
	}
}

func TestFaultsReadLikeCompilerErrors(t *testing.T) {
	faults := fleet.Faults{
		{File: "a.yaml", Line: 3, Subject: "Upstream/app", Path: "spec.servers", Message: "is missing"},
		{File: "b.yaml", Message: "is empty"},
	}
	faults.Addf("spec", "is %s", "wrong")
	want := "a.yaml:3: Upstream/app: spec.servers: is missing\nb.yaml: is empty\nspec: is wrong"
	if got := faults.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
