package main

import (
	"bytes"
	"testing"
)

func TestWhereThereIsNoNodeItIsSaidWhatToDo(t *testing.T) {
	for selector, want := range map[string]string{
		"":            "no node is registered: `fairlead token create` prints the line by which a host becomes one\n",
		"role=edge,x": "no node matches role=edge,x\n",
	} {
		var said bytes.Buffer
		a := &app{stderr: &said, output: "table"}
		if code := a.exit(t.Context(), nil, a.printNodes(nil, selector, nil)); code != 4 || said.String() != want {
			t.Errorf("%q: exit code %d, said %q, want %q", selector, code, &said, want)
		}
	}
}
