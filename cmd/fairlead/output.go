package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
)

var formats = []string{"table", "wide", "json", "yaml", "name"}

func (a *app) checkOutput() error {
	if a.asJSON {
		a.output = "json"
	}
	if !slices.Contains(formats, a.output) {
		return usagef("-o %q: use %s", a.output, strings.Join(formats, ", "))
	}
	return nil
}

// print writes a value in the chosen format; rows and names are asked for
// when they are needed.
func (a *app) print(value any, rows func(t *table), names func() []string) error {
	switch a.output {
	case "json":
		return a.printJSON(value)
	case "yaml":
		return a.printYAML(value)
	case "name":
		for _, n := range names() {
			fmt.Fprintln(a.stdout, n)
		}
		return nil
	}
	t := &table{app: a, wide: a.output == "wide"}
	rows(t)
	return t.flush()
}

func (a *app) printJSON(value any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// streams reports whether messages are printed for machines: one JSON value a
// line, or one YAML document each.
func (a *app) streams() bool { return a.output == "json" || a.output == "yaml" }

// printNext writes one value of a stream.
func (a *app) printNext(value any) error {
	if a.output == "yaml" {
		if _, err := fmt.Fprintln(a.stdout, "---"); err != nil {
			return err
		}
		return a.printYAML(value)
	}
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

func (a *app) printYAML(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return err
	}
	plain(&node)
	e := yaml.NewEncoder(a.stdout)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return err
	}
	return e.Close()
}

// plain undoes JSON's flow style and quotes, where YAML needs neither.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

// table is rows of columns; a first row of capitals is its head.
type table struct {
	app  *app
	wide bool
	cut  bool // rows end at the edge of the terminal, and no column but the last is wider than mostCell; -o wide has all of it
	rows [][]string
}

func (t *table) row(columns ...string) *table {
	t.rows = append(t.rows, columns)
	return t
}

// more adds columns to the last row for -o wide.
func (t *table) more(columns ...string) {
	if t.wide {
		last := len(t.rows) - 1
		t.rows[last] = append(t.rows[last], columns...)
	}
}

// mostCell is the widest a column may be that has another behind it: what a person
// wrote is up to 500 characters, a kind with a name up to 75.
const mostCell = 80

func (t *table) flush() error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, r := range t.rows {
		for i, c := range r {
			r[i] = oneLine(c)
			if t.cut && !t.wide && i < len(r)-1 {
				r[i] = cutTo(r[i], mostCell)
			}
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, " \n")
		if t.cut && !t.wide {
			line = cutTo(line, t.app.width)
		}
		if _, err := fmt.Fprintln(t.app.stdout, t.app.paintStates(line)); err != nil {
			return err
		}
	}
	return nil
}

// cutTo cuts a line to a width, 0 for none.
func cutTo(line string, width int) string {
	if r := []rune(line); width > 0 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return line
}

// oneLine makes text safe for a row: what nodes say may hold anything.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			return '�'
		}
		return r
	}, s)
}

type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	dim    colour = "2"
)

func (a *app) paint(c colour, s string) string {
	if !a.colour {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

var stateColours = map[string]colour{
	"succeeded": green, "in sync": green, "online": green,
	"failed": red, "partial": red, "rejected": red, "unfit": red, "different": red, "expired": red,
	"pending": yellow, "unknown": yellow, "offline": yellow, "never seen": yellow, "superseded": dim, "cancelled": dim,
}

// paintStates colours the words for states in a row of a table, where a column
// is one.
func (a *app) paintStates(line string) string {
	if !a.colour {
		return line
	}
	parts := strings.Split(line, "  ")
	for i, p := range parts {
		word, _, _ := strings.Cut(strings.TrimSpace(p), " (") // pending (last seen …)
		if c, ok := stateColours[word]; ok {
			parts[i] = a.paint(c, p)
		}
	}
	return strings.Join(parts, "  ")
}

// ago is a time as people say it, by the broker's clock.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return span(now.Sub(at)) + " ago"
}

// span is a duration with its two largest units.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// count is a number of things: "1 node", "3 nodes".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func note(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
