package nginx

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

const (
	answersInARow = 5
	// glance is the time between two looks at what nginx sends no event for: the
	// titles of its workers. A look costs 50 µs.
	glance = 2 * time.Millisecond
	// bindRetries is how long nginx goes on trying to bind to an address in use.
	bindRetries = 2500 * time.Millisecond
	// slack is for a machine that has other things to do.
	slack = 5 * time.Second
)

// failure is why a generation was not proven.
type failure struct {
	kind    fleet.Kind
	text    string   // nginx's own lines where it said something
	refused bool     // nginx gave the reload up by itself; the old generation was never touched
	node    bool     // it has nothing to do with what the generation says
	owners  []string // IDs of the resources that are to blame, where that is known
}

func (f *failure) Error() string { return f.text }

// past is what a generation takes the place of; the zero value is nothing.
type past struct {
	workers []worker
	// reads is how often masters had told of reading their configuration before
	// this one is to, and one more: workers of before may still be told of.
	reads int64
}

// deadline is how long a generation has until it serves: nginx's own retries
// and three times what parsing took, on top of slack.
func (e *Engine) deadline() time.Duration { return bindRetries + 3*e.parse + slack }

// prove watches nginx until the version serves: every worker that takes
// connections is new (none is of the past) and there are as many as there should
// be, and then the status socket answers five times in a row with the
// version's digest. An [emerg] or [alert] of the master ends it at once, but
// for an address in use, which nginx tries again by itself. The error is a
// *failure.
func (e *Engine) prove(ctx context.Context, v version, old past) *failure {
	ctx, cancel := context.WithTimeout(ctx, e.deadline())
	defer cancel()
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	master := e.master.Load()
	var said []string // complaints that nginx may get over
	seen := "nothing yet"
	for answers := 0; answers < answersInARow; {
		select {
		case c := <-e.control.complaints:
			if f := judge(c, old, &said); f != nil {
				return f
			}
			continue
		case <-ctx.Done():
			return &failure{kind: fleet.Timeout, text: strings.Join(append(said, "not proven in time: "+seen), "\n")}
		default:
		}
		if !master.Alive() {
			return &failure{kind: fleet.Failed, text: e.lastWords(said)}
		}
		all, err := workersOf(master.PID)
		if err == nil && settled(all, old.workers, v.Manifest.Workers) {
			said, err := e.generation(ctx)
			if err == nil && said == v.generation() {
				answers++
				continue // no need to wait between answers
			}
			seen = fmt.Sprintf("the status socket answers %q, %v", Short(said), err)
		} else {
			seen = describe(all, old.workers, v.Manifest.Workers)
		}
		answers = 0
		select {
		case <-ticker.C:
		case <-ctx.Done():
		case c := <-e.control.complaints:
			if f := judge(c, old, &said); f != nil {
				return f
			}
		}
	}
	return nil
}

// judge says whether a complaint is the end of it.
func judge(c complaint, old past, said *[]string) *failure {
	switch {
	case c.logging(), c.ignored():
		return nil
	case c.read < old.reads, slices.ContainsFunc(old.workers, func(w worker) bool { return w.PID == c.about() }):
		return nil // the old generation's business
	case c.retried():
		if !slices.Contains(*said, c.text) {
			*said = append(*said, c.text)
		}
		return nil
	}
	return &failure{kind: fleet.Failed, text: strings.Join(append(*said, c.text), "\n"), refused: c.level == "emerg"}
}

func describe(all, old []worker, want int) string {
	fresh, left := 0, 0
	for _, w := range all {
		switch {
		case slices.ContainsFunc(old, func(o worker) bool { return o.Identity == w.Identity }):
			if !w.draining {
				left++
			}
		case !w.draining:
			fresh++
		}
	}
	return fmt.Sprintf("%d of %d new workers, %d old ones still take connections", fresh, want, left)
}
