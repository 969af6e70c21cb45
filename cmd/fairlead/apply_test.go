package main

import (
	"bytes"
	"testing"
)

func TestNodesThatCannotTakeAChangeAreToldOncePerReason(t *testing.T) {
	var said bytes.Buffer
	a := &app{stderr: &said}
	a.sayUnfit(map[string]string{"b": "full", "a": "full", "c": "old"})
	if want := "a, b cannot take it: full\nc cannot take it: old\n"; said.String() != want {
		t.Errorf("said %q, want %q", &said, want)
	}
}
