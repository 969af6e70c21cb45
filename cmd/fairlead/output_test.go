package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestRowsEndAtTheEdgeOfTheTerminal(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for _, test := range []struct {
		name             string
		width            int
		wide, cut, whole bool
	}{
		{"terminal", 40, false, true, false},
		{"terminal, wide", 40, true, true, true},
		{"terminal, a row that is not cut", 40, false, false, true},
		{"no terminal", 0, false, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			table := table{app: &app{stdout: &out, width: test.width}, wide: test.wide, cut: test.cut}
			table.row("NODE", "WHY")
			table.row("node1", long)
			if err := table.flush(); err != nil {
				t.Fatal(err)
			}
			_, row, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
			if whole := strings.HasSuffix(row, long); whole != test.whole {
				t.Errorf("the row is %q", row)
			}
			if !test.whole && (len([]rune(row)) != test.width || !strings.HasSuffix(row, "…")) {
				t.Errorf("the row has %d columns, want %d: %q", len([]rune(row)), test.width, row)
			}
		})
	}
}

// What a person wrote keeps what stands behind it in sight, piped too.
func TestALongCellLeavesRoomForThoseBehindIt(t *testing.T) {
	long := strings.Repeat("ä", 500)
	for _, wide := range []bool{false, true} {
		var out bytes.Buffer
		table := table{app: &app{stdout: &out}, wide: wide, cut: true}
		table.row("NODE", "MESSAGE", "END")
		table.row("node1", long, long)
		if err := table.flush(); err != nil {
			t.Fatal(err)
		}
		head, row, _ := strings.Cut(out.String(), "\n")
		at := strings.Index(head, "END")
		if want := map[bool]int{false: 7 + mostCell + 2, true: 7 + 500 + 2}[wide]; at != want {
			t.Errorf("wide %v: the last column begins at %d, want %d", wide, at, want)
		}
		if cells := strings.Fields(row); cells[2] != long || wide != (cells[1] == long) || !wide && !strings.HasSuffix(cells[1], "…") {
			t.Errorf("wide %v: %q", wide, row)
		}
	}
}

// What nodes say may hold anything; a terminal must not obey it.
func TestTablesHoldNoControlCharacters(t *testing.T) {
	var out bytes.Buffer
	table := table{app: &app{stdout: &out}}
	table.row("node1", "a\nb\tc\x1b[2Jd\u009b")
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "node1  a b c�[2Jd�\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStatesAreColouredWhereAColumnIsOne(t *testing.T) {
	a := app{colour: true}
	for line, want := range map[string]string{
		"node1  reload.nginx  failed  it failed": "node1  reload.nginx  \x1b[31mfailed\x1b[0m  it failed",
		"node1  pending (last seen 3s ago)":      "node1  \x1b[33mpending (last seen 3s ago)\x1b[0m",
	} {
		if got := a.paintStates(line); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDurationsAreWrittenAndReadAsPeopleDo(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "36h": 36 * time.Hour, "7d": 7 * 24 * time.Hour,
		"2w": 14 * 24 * time.Hour, "1.5d": 36 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0,
	} {
		var d days
		if err := d.Set(text); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %s (%v), want %s", text, time.Duration(d), err, want)
		}
		var again days
		if err := again.Set(d.String()); err != nil || again != d {
			t.Errorf("%s is written as %s and read as %s (%v)", text, d.String(), time.Duration(again), err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "soon", "-5s", "7 d", "99999d", "NaNd"} {
		var d days
		if err := d.Set(text); err == nil {
			t.Errorf("%q is read as %s", text, time.Duration(d))
		}
	}
}
