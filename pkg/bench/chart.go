package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// ReadScaled reads results of `fairlead bench fleet --json`, and sorts them by size.
func ReadScaled(files ...string) ([]Scaled, error) {
	var runs []Scaled
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "read a result: %w", err)
		}
		var r Scaled
		if err := json.Unmarshal(data, &r); err != nil || r.Nodes == 0 || r.Light {
			return nil, fleet.Errorf(fleet.Invalid, "%s is no result of `fairlead bench fleet --json`", file)
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b Scaled) int { return cmp.Compare(a.Nodes, b.Nodes) })
	return runs, nil
}

// curve is one row of the table and one line of the picture: a value for each run,
// 0 where there is none.
type curve struct {
	name  string
	unit  string
	value func(Scaled) float64
}

// panel is one part of the picture.
type panel struct {
	title  string
	curves []curve
}

func took(name string) func(Scaled) float64 {
	return func(r Scaled) float64 {
		f := r.figure(name)
		return cmp.Or(f.Took, f.P50).Seconds() * 1000
	}
}

func rate(name string) func(Scaled) float64 {
	return func(r Scaled) float64 { return r.figure(name).Rate }
}

// figure is one by name, the zero value where it was not measured.
func (r Scaled) figure(name string) Figures {
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	return Figures{}
}

var panels = []panel{
	{"memory of a node, KiB", []curve{
		{"broker", "KiB", func(r Scaled) float64 { return r.Memory.Broker / 1024 }},
		{"broker, bare connection", "KiB", func(r Scaled) float64 { return r.Memory.Bare / 1024 }},
		{"station", "KiB", func(r Scaled) float64 { return r.Memory.Station / 1024 }},
		{"agent (many in one process)", "KiB", func(r Scaled) float64 { return r.Memory.Agents / 1024 }},
	}},
	{"processor at rest, % of a core", []curve{
		{"broker", "%", func(r Scaled) float64 { return 100 * r.Idle.Broker }},
		{"station", "%", func(r Scaled) float64 { return 100 * r.Idle.Station }},
		{"all agents", "%", func(r Scaled) float64 { return 100 * r.Idle.Agents }},
	}},
	{"to every node at once, a second", []curve{
		{"bare connections: the floor", "/s", rate(nameFloor)},
		{"command", "/s", rate(nameCommand)},
		{"reload", "/s", rate(nameReload)},
		{"ten missed commands each", "/s", func(r Scaled) float64 { return r.Storm.Rate }},
	}},
	{"time, ms", []curve{
		{"status", "ms", took(nameStatus)},
		{"nodes -l, a tenth of them", "ms", took(nameNodes)},
		{"health of up to 1,000, last answer", "ms", took(nameAsk)},
		{"ping of all, last answer", "ms", took(namePing)},
		{"a bare question to as many", "ms", took(nameRaw)},
		{"command to all, last answer", "ms", took(nameCommand)},
		{"change of all at once", "ms", took(nameChange)},
		{"rollout in four waves, 1 s of bake each", "ms", took(nameRollout)},
		{"all back, ten missed commands each", "ms", func(r Scaled) float64 { return r.Storm.Took.Seconds() * 1000 }},
	}},
}

// Table writes the results as a table in Markdown, a column for each.
func Table(w io.Writer, runs []Scaled) error {
	var out strings.Builder
	out.WriteString("| nodes |")
	for _, r := range runs {
		fmt.Fprintf(&out, " %d |", r.Nodes)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(runs)) + "\n")
	for _, p := range panels {
		for _, c := range p.curves {
			fmt.Fprintf(&out, "| %s: %s |", strings.SplitN(p.title, ",", 2)[0], c.name)
			for _, r := range runs {
				fmt.Fprintf(&out, " %s %s |", short(c.value(r)), c.unit)
			}
			out.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// short is a number with two or three digits that count.
func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// Sizes of the picture, in pixels.
const (
	panelWide, panelHigh = 460, 330
	toLeft, toRight      = 52, 14
	above, below         = 34, 40
	perLegend            = 15
)

// colours of the curves of a panel, for light and dark grounds alike.
var colours = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#bcbd22", "#e377c2"}

// Chart draws the results as SVG: four panels, nodes on the one axis and what they
// cost on the other, both as powers of ten.
func Chart(w io.Writer, runs []Scaled) error {
	if len(runs) < 2 {
		return fleet.Errorf(fleet.Invalid, "a picture needs the results of two sizes or more")
	}
	var out strings.Builder
	high := panelHigh + len(colours)*perLegend
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", 2*panelWide, 2*high)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for i, p := range panels {
		fmt.Fprintf(&out, `<g transform="translate(%d,%d)">`+"\n", i%2*panelWide, i/2*high)
		p.draw(&out, runs)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// scale is an axis of powers of ten over so many pixels.
type scale struct{ from, to, pixels float64 }

func newScale(low, high, pixels float64) scale {
	s := scale{math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)), pixels}
	if s.to <= s.from {
		s.to = s.from + 1
	}
	return s
}

func (s scale) at(v float64) float64 { return (math.Log10(v) - s.from) / (s.to - s.from) * s.pixels }

func (p panel) draw(out io.Writer, runs []Scaled) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range p.curves {
		for _, r := range runs {
			if v := c.value(r); v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high < low { // nothing was measured
		low, high = 1, 10
	}
	wide, tall := float64(panelWide-toLeft-toRight), float64(panelHigh-above-below)
	x := newScale(float64(runs[0].Nodes), float64(runs[len(runs)-1].Nodes), wide)
	y := newScale(low, high, tall)
	text := func(atX, atY float64, anchor, words string) {
		fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="#222">%s</text>`+"\n", atX, atY, anchor, html.EscapeString(words))
	}
	rule := func(x1, y1, x2, y2 float64) {
		fmt.Fprintf(out, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ccc"/>`+"\n", x1, y1, x2, y2)
	}
	text(toLeft, above-12, "start", p.title)
	for e := x.from; e <= x.to; e++ {
		at := toLeft + x.at(math.Pow(10, e))
		rule(at, above, at, above+tall)
		text(at, above+tall+15, "middle", fmt.Sprintf("%.0f", math.Pow(10, e)))
	}
	text(toLeft+wide/2, above+tall+30, "middle", "nodes")
	for e := y.from; e <= y.to; e++ {
		at := above + tall - y.at(math.Pow(10, e))
		rule(toLeft, at, toLeft+wide, at)
		text(toLeft-6, at+4, "end", fmt.Sprintf("%g", math.Pow(10, e)))
	}
	for i, c := range p.curves {
		var points []string
		for _, r := range runs {
			v := c.value(r)
			if v <= 0 {
				continue
			}
			atX, atY := toLeft+x.at(float64(r.Nodes)), above+tall-y.at(v)
			points = append(points, fmt.Sprintf("%.1f,%.1f", atX, atY))
			fmt.Fprintf(out, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", atX, atY, colours[i])
		}
		fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(points, " "), colours[i])
		legend := float64(panelHigh + i*perLegend)
		fmt.Fprintf(out, `<rect x="%d" y="%.1f" width="10" height="10" fill="%s"/>`+"\n", toLeft, legend-9, colours[i])
		text(toLeft+16, legend, "start", c.name)
	}
}
