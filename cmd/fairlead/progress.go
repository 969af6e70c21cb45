package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
)

// say writes a line for people to stderr.
func (a *app) say(format string, args ...any) {
	a.clearProgress()
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// progress overwrites its line on a terminal and is silent elsewhere.
func (a *app) progress(format string, args ...any) {
	if !a.terminal {
		return
	}
	// One write, and the rest of the line cleared behind it: nothing flickers.
	fmt.Fprint(a.stderr, "\r"+cutTo(oneLine(fmt.Sprintf(format, args...)), a.columns()-1)+"\x1b[K")
}

// columns is the width of the terminal, 80 where it is not known.
func (a *app) columns() int {
	if a.width > 0 {
		return a.width
	}
	return 80
}

func (a *app) clearProgress() {
	if a.terminal {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
}

// answers shows how many commands of several have ended: a bar on a terminal,
// and elsewhere a line now and then.
type answers struct {
	app   *app
	mu    sync.Mutex
	all   int
	state map[string]message.State // by command, of those that are open
	node  map[string]string
	ended map[message.State]int
	begun time.Time
	shown time.Time // when it was last
	next  time.Time // when a line may be written where no terminal is
	told  int       // how many had ended then
}

// showEvery is how often the bar moves at most.
const showEvery = 100 * time.Millisecond

// linesFirst and linesLast bound the pauses between lines, which double: a log
// gets some and not thousands.
const (
	linesFirst = 2 * time.Second
	linesLast  = time.Minute
)

func (a *app) answers(sent []client.Sent, now time.Time) *answers {
	p := &answers{app: a, all: len(sent), state: make(map[string]message.State, len(sent)), node: make(map[string]string, len(sent)),
		ended: make(map[message.State]int), begun: now, next: now.Add(linesFirst)}
	for _, s := range sent {
		p.state[s.ID], p.node[s.ID] = message.Published, s.Node
	}
	return p
}

// moved takes an outcome that moved.
func (p *answers) moved(o client.Outcome, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.State.Final() {
		if _, open := p.state[o.ID]; open {
			p.ended[o.State]++
			delete(p.state, o.ID)
		}
	} else {
		p.state[o.ID] = o.State
	}
	p.show(now)
}

// tick shows how it stands when nothing moves.
func (p *answers) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(now)
}

// show writes the bar or a line when it is time. The lock is held.
func (p *answers) show(now time.Time) {
	a := p.app
	if a.terminal {
		if now.Sub(p.shown) >= showEvery || len(p.state) == 0 {
			p.shown = now
			a.progress("%s", p.line(a.columns()-1))
		}
		return
	}
	answered := p.all - len(p.state)
	if p.all == 1 || answered == p.told || len(p.state) == 0 || now.Before(p.next) || a.events {
		return
	}
	p.told = answered
	p.next = now.Add(min(2*now.Sub(p.begun), linesLast))
	a.say("%s", p.line(0))
}

const barWidth = 20

// line is how it stands: the bar where there is room for it, the states, and who
// is waited for.
func (p *answers) line(width int) string {
	answered := p.all - len(p.state)
	text := fmt.Sprintf("%d of %d answered", answered, p.all)
	var states []string
	for _, s := range message.Finals() {
		if n := p.ended[s]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(states) > 0 {
		text += ": " + strings.Join(states, ", ")
	}
	if open := p.slowest(3); len(open) > 0 {
		text += "; open: " + strings.Join(open, ", ")
		if more := len(p.state) - len(open); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	if width < 3*barWidth || p.all == 1 {
		return text
	}
	full := barWidth * answered / p.all
	return strings.Repeat("█", full) + strings.Repeat("░", barWidth-full) + " " + text
}

// slowest names some nodes that are waited for: those that run first, since
// others may only be away.
func (p *answers) slowest(most int) []string {
	var run, rest []string
	for id, s := range p.state {
		if s == message.Published {
			rest = append(rest, p.node[id])
		} else {
			run = append(run, p.node[id]+" ("+string(s)+")")
		}
	}
	slices.Sort(run)
	slices.Sort(rest)
	all := append(run, rest...)
	return all[:min(most, len(all))]
}
