package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

// waitedFor are the answers of so many nodes, and a clock to move.
func waitedFor(a *app, nodes int, begun time.Time) (*answers, []client.Outcome) {
	var sent []client.Sent
	var outcomes []client.Outcome
	for i := range nodes {
		s := client.Sent{ID: fmt.Sprintf("id%05d", i), Node: fmt.Sprintf("node%05d", i)}
		sent = append(sent, s)
		outcomes = append(outcomes, client.Outcome{Sent: s, State: message.Succeeded})
	}
	return a.answers(sent, begun), outcomes
}

func TestTheBarFitsTheTerminalAndIsWrittenOverItself(t *testing.T) {
	begun := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, width := range []int{30, 80, 200} {
		var out bytes.Buffer
		a := &app{stderr: &out, terminal: true, width: width}
		p, outcomes := waitedFor(a, 500, begun)
		p.moved(client.Outcome{Sent: outcomes[499].Sent, State: message.Running}, begun)
		for i, o := range outcomes[:250] {
			if i%50 == 0 {
				o.State = message.FailedEnd
			}
			p.moved(o, begun.Add(time.Duration(i)*10*time.Millisecond))
		}
		parts := strings.Split(out.String(), "\r")[1:]
		if len(parts) > 30 {
			t.Errorf("%d columns: 251 moves in 2.5 s are shown %d times", width, len(parts))
		}
		for _, part := range parts {
			line := strings.TrimSuffix(part, "\x1b[K")
			if line == part || len([]rune(line)) >= width || strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("%d columns: %q", width, part)
			}
		}
		last := strings.TrimSuffix(parts[len(parts)-1], "\x1b[K")
		if width == 200 && last != strings.Repeat("█", 9)+strings.Repeat("░", 11)+" 241 of 500 answered: 236 succeeded, 5 failed; open: node00499 (running), node00241, node00242 and 256 more" {
			t.Errorf("%s", last)
		}
	}
}

func TestALogGetsSomeLinesAndNotThousands(t *testing.T) {
	begun := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	a := &app{stderr: &out}
	p, outcomes := waitedFor(a, 10_000, begun)
	for i, o := range outcomes {
		p.moved(o, begun.Add(time.Duration(i)*100*time.Millisecond)) // for a quarter of an hour
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 5 || len(lines) > 30 || !strings.HasPrefix(lines[0], "21 of 10000 answered: 21 succeeded; open: node00021, ") {
		t.Errorf("%d lines, the first %q", len(lines), lines[0])
	}
	for i, line := range lines[1:] {
		if line == lines[i] {
			t.Errorf("nothing moved and it is said again: %s", line)
		}
	}
	// One command, and events for a program, have none.
	out.Reset()
	p, outcomes = waitedFor(a, 1, begun)
	p.moved(outcomes[0], begun.Add(time.Hour))
	a.events = true
	p, outcomes = waitedFor(a, 10, begun)
	for _, o := range outcomes {
		p.moved(o, begun.Add(time.Hour))
	}
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

func TestManyOutcomesAreShownInGroups(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out, output: "table"}
	_, outcomes := waitedFor(a, 40, time.Time{})
	for i := range outcomes {
		outcomes[i].Answer.Message = fmt.Sprintf("revision %d serves", i)
		switch i {
		case 3, 7, 9:
			outcomes[i].State = message.FailedEnd
			outcomes[i].Answer.Message = fmt.Sprintf("bind() to 10.0.0.%d:80 failed", i)
		case 12:
			outcomes[i].State = message.Published
			outcomes[i].Answer.Message = ""
		}
	}
	tab := &table{app: a}
	groupRows(tab, outcomes, map[string]string{"node00012": "last seen 4h12m ago"})
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	want := `36 nodes  succeeded  revision … serves
3 nodes   failed     bind() to … failed   node00003, node00007, node00009
1 node    pending    last seen 4h12m ago  node00012
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}
