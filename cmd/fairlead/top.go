package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fairlead/pkg/client"
	"fairlead/pkg/station"
)

func newTop(a *app) *cobra.Command {
	var t targets
	every := days(2 * time.Second)
	c := &cobra.Command{
		Use:   "top [-l SELECTOR]",
		Short: "watch the fleet: who is there and in sync, commands, rollouts",
		Long: `Shows the fleet and refreshes it until q or Ctrl-C: how many nodes are there and in sync, commands that wait and their rate,
rollouts that are under way, and nodes that are not what they should be. Where no terminal is, it prints this once.`,
		Example: `  fairlead top
  fairlead top -l region=eu --every 5s
  fairlead top --json`,
		Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if time.Duration(every) < 100*time.Millisecond {
				return usagef("--every %s: use 100ms or more", every.String())
			}
			return nil
		},
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			q, err := t.question(a, nil)
			if err != nil {
				return err
			}
			in, tty := a.stdin.(*os.File)
			if a.output != "table" || a.width == 0 || !a.terminal || !tty || !term.IsTerminal(int(in.Fd())) {
				return a.topOnce(ctx, c, q)
			}
			return a.topLive(ctx, c, q, in, time.Duration(every))
		}),
	}
	f := c.Flags()
	f.StringVarP(&t.selector, "selector", "l", "", "only nodes whose labels match")
	f.StringVar(&t.fields, "field", "", "only nodes of which that is known, such as os=debian-*")
	f.Var(&every, "every", "how often it is refreshed")
	if err := c.RegisterFlagCompletionFunc("field", completeFields); err != nil {
		panic(err) // the flag was made above
	}
	return c
}

// topRows is how many nodes one print of the fleet names.
const topRows = 20

func (a *app) topOnce(ctx context.Context, c *client.Client, q station.NodesQuestion) error {
	g, err := c.Glance(ctx, q, topRows)
	if err != nil {
		return err
	}
	return a.print(g, func(*table) {
		for _, line := range a.topLines(client.Glance{}, g, topRows) {
			fmt.Fprintln(a.stdout, line)
		}
	}, func() (names []string) {
		for _, n := range g.Amiss {
			names = append(names, n.Name)
		}
		return names
	})
}

// How a terminal shows a page of its own: another screen without a cursor, and
// the old one as it was.
const (
	screenOn  = "\x1b[?1049h\x1b[?25l"
	screenOff = "\x1b[?25h\x1b[?1049l"
)

// topLive refreshes the page until q, Ctrl-C or the end of ctx, and leaves the
// terminal as it found it.
func (a *app) topLive(ctx context.Context, c *client.Client, q station.NodesQuestion, in *os.File, every time.Duration) error {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(in.Fd()), before) }()
	fmt.Fprint(a.stdout, screenOn)
	defer fmt.Fprint(a.stdout, screenOff)
	keys := make(chan byte)
	go func() { // ends with the process: a read of a terminal cannot be stopped
		defer close(keys)
		var key [1]byte
		for {
			if n, err := in.Read(key[:]); n == 0 || err != nil {
				return
			}
			keys <- key[0]
		}
	}()
	var last client.Glance
	for {
		width, height, err := term.GetSize(int(in.Fd()))
		if err != nil {
			width, height = a.columns(), topRows
		}
		asking, cancel := context.WithTimeout(ctx, max(every, 5*time.Second))
		g, err := c.Glance(asking, q, height)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, context.DeadlineExceeded) && last.At.IsZero():
			return err
		case err != nil: // the broker or the stations may come back
			a.page(width, height, []string{a.paint(red, "nobody answers: ") + oneLine(err.Error())})
		default:
			a.page(width, height, a.topLines(last, g, height))
			last = g
		}
		if over := pressed(ctx, keys, every); over {
			return nil
		}
	}
}

// pressed waits, and reports whether the page is to end.
func pressed(ctx context.Context, keys <-chan byte, every time.Duration) bool {
	tick := time.NewTimer(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-tick.C:
			return false
		case key, open := <-keys:
			switch {
			case !open, key == 'q', key == 'Q', key == 3, key == 4, key == 27: // Ctrl-C, Ctrl-D, Esc
				return true
			case key == ' ', key == '\r':
				return false
			}
		}
	}
}

// page writes lines over those that are there, in one write, so that nothing
// flickers.
func (a *app) page(width, height int, lines []string) {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(a.paintStates(cutTo(line, width)) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	fmt.Fprint(a.stdout, b.String())
}

// topLines is the page: never more than height lines.
func (a *app) topLines(last, g client.Glance, height int) []string {
	s := g.Summary
	sync := []string{count(s.Nodes, "node")}
	for _, word := range []string{station.InSync, station.Pending, station.Partial, station.FailedIn, station.Unfit, station.Drifted, station.Unsaid, station.NoneDue} {
		if n := s.Sync[word]; n > 0 {
			sync = append(sync, fmt.Sprintf("%d %s", n, map[bool]string{true: "without resources", false: word}[word == station.NoneDue]))
		}
	}
	var there []string
	for _, word := range []string{station.Online, station.Duplicate, station.Uncertain, station.Offline, station.NeverWas} {
		if n := s.Presence[word]; n > 0 {
			there = append(there, fmt.Sprintf("%d %s", n, word))
		}
	}
	if s.Drained > 0 {
		there = append(there, fmt.Sprintf("%d drained", s.Drained))
	}
	lines := []string{
		"fairlead  " + g.At.Local().Format(time.DateTime),
		"sync      " + strings.Join(sync, ", "),
		"presence  " + strings.Join(there, ", "),
		"commands  " + fmt.Sprintf("%d waiting", s.Waiting) + rates(last, g),
	}
	for i, r := range g.Rollouts {
		head := "rollouts  "
		if i > 0 {
			head = "          "
		}
		lines = append(lines, head+r.ID+" by "+r.By+": "+oneLine(r.Progress))
	}
	if text := expiries(s); text != "" {
		lines = append(lines, "expiry    "+text)
	}
	if len(g.Amiss) == 0 {
		return lines
	}
	var b strings.Builder
	t := &table{app: &app{stdout: &b}}
	t.row("NODE", "PRESENCE", "SYNC", "DESIRED", "OBSERVED", "WAITING", "WHY")
	for _, n := range g.Amiss[:min(len(g.Amiss), max(0, height-len(lines)-2))] {
		t.row(n.Name, presenceOf(n, s.Now), syncOf(n, s.Now), revision(n.DesiredRevision, n.DesiredDigest), revision(n.ObservedRevision, n.RunningDigest), waitingOf(n), n.Message)
	}
	_ = t.flush() // into memory: cannot fail
	return append(append(lines, ""), strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
}

// rates is what came in a second between two glances; "" for the first.
func rates(last, g client.Glance) string {
	seconds := g.At.Sub(last.At).Seconds()
	if last.At.IsZero() || seconds <= 0 || g.Commands < last.Commands || g.Events < last.Events {
		return ""
	}
	return fmt.Sprintf(", %.1f/s sent, %.1f/s answered", float64(g.Commands-last.Commands)/seconds, float64(g.Events-last.Events)/seconds)
}
