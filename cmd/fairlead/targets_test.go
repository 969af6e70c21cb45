package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTheSameSeedChoosesTheSameNodes(t *testing.T) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("n%04d", i))
	}
	choose := func(limit, seed string, of []string) []string {
		t.Helper()
		x := targets{seed: seed}
		if err := x.limit.Set(limit); err != nil {
			t.Fatal(err)
		}
		got, err := x.limited(of)
		if err != nil || !slices.IsSorted(got) {
			t.Fatalf("%v, %v", got, err)
		}
		return got
	}
	ten := choose("1%", "seven", names)
	if len(ten) != 10 || slices.Equal(ten, names[:10]) || !slices.Equal(ten, choose("10", "seven", names)) || slices.Equal(ten, choose("10", "eight", names)) {
		t.Errorf("%v", ten)
	}
	// Another node does not move the choice, but for a place.
	more := choose("10", "seven", append(slices.Clone(names), "n9999"))
	same := 0
	for _, name := range more {
		if slices.Contains(ten, name) {
			same++
		}
	}
	if same < 9 {
		t.Errorf("of %v only %d are chosen when one joins: %v", ten, same, more)
	}
	for limit, want := range map[string]int{"0.01%": 1, "33.3%": 333, "100%": 1000, "5000": 1000, "3": 3} {
		if got := choose(limit, "x", names); len(got) != want {
			t.Errorf("%s of %d are %d, want %d", limit, len(names), len(got), want)
		}
	}
	if got := choose("3", "", names); !slices.Equal(got, names[:3]) {
		t.Errorf("without a seed they are %v", got)
	}
}

func TestHowNodesAreChosenIsWrittenAsItWasTyped(t *testing.T) {
	x := targets{selector: "role=edge,region!=eu", fields: "seen>1h", from: "list.txt", seed: "7", drained: true}
	_ = x.limit.Set("10%")
	if got, want := x.describe(), `-l "role=edge,region!=eu" --field "seen>1h" --nodes-from list.txt --limit 10% --random-seed 7 --include-drained`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAListOfNodesIsReadInEveryForm(t *testing.T) {
	a := &app{stdin: strings.NewReader("b a\t#c\n\nnode/ \n")}
	if _, err := a.readList("-"); err == nil || !strings.Contains(err.Error(), "list of nodes -:3: ") {
		t.Errorf("%v", err)
	}
	a.stdin = strings.NewReader("b, a,a\r\n# none\nc")
	got, err := new(targets).named(a, []string{"z", "-", "b"})
	if err != nil || strings.Join(got, " ") != "a b c z" {
		t.Errorf("%v, %v", got, err)
	}
}
