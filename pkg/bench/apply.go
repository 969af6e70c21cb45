package bench

import (
	"context"
	"fmt"
	"time"
)

// ApplyOptions say what Apply measures.
type ApplyOptions struct {
	Runs    int // of each kind, 20 when 0
	Hosts   int // of the large node, 1000 when 0
	Applies int // under load, 100 when 0
	Options     // Progress and Logger alone
}

// Applied is the result of Apply.
type Applied struct {
	Machine Machine   `json:"machine"`
	Hosts   int       `json:"hosts"`
	Figures []Figures `json:"figures"`
	Applies int       `json:"appliesUnderLoad"`
	Load    []Loaded  `json:"load"`
}

// Apply measures changes of one node's nginx: what an agent does from a desired
// state to proven serving, all in one process, without a broker. The floor beside it is the
// same change of the same configuration by bare means, on an nginx of its own
// and in turns: files written in place, nginx -t, a signal, and the last
// answer of an old worker.
func Apply(ctx context.Context, o ApplyOptions) (Applied, error) {
	set(&o.Runs, 20)
	set(&o.Hosts, 1000)
	set(&o.Applies, 100)
	o.Options = o.complete()
	a := Applied{Machine: ThisMachine(), Hosts: o.Hosts, Applies: o.Applies}
	for i, kind := range []struct {
		name           string
		hosts, changed int
	}{
		{"one host", 1, 1},
		{fmt.Sprintf("one of %d hosts", o.Hosts), o.Hosts, 1},
		{fmt.Sprintf("all of %d hosts", o.Hosts), o.Hosts, o.Hosts},
	} {
		o.Progress("%d changes of %s, and by bare means in turns", o.Runs, kind.name)
		figures, err := applies(ctx, o, 2*i+1, kind.name, kind.hosts, kind.changed)
		if err != nil {
			return a, fmt.Errorf("%s: %w", kind.name, err)
		}
		a.Figures = append(a.Figures, figures...)
	}
	o.Progress("%d changes under load", o.Applies)
	var err error
	a.Load, err = Load(ctx, o.Applies, o.Logger)
	return a, err
}

// applies measures one kind of change.
func applies(ctx context.Context, o ApplyOptions, number int, name string, hosts, changed int) ([]Figures, error) {
	ours, err := startWeb(ctx, number, o.Logger)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	theirs, err := startWeb(ctx, number+1, o.Logger)
	if err != nil {
		return nil, err
	}
	defer theirs.close()
	revision := uint64(1)
	for _, w := range []*web{ours, theirs} {
		if _, err := w.apply(ctx, revision, w.hosts(hosts, changed, revision)); err != nil {
			return nil, err
		}
	}
	theirs.leave() // from now on nobody cares for it
	plain, err := theirs.bare()
	if err != nil {
		return nil, err
	}
	apply, floor := &series{name: "apply, " + name}, &series{name: "nginx -t, HUP, last old answer, " + name}
	began := time.Now()
	for range o.Runs {
		revision++
		took, err := ours.apply(ctx, revision, ours.hosts(hosts, changed, revision))
		if err != nil {
			return nil, err
		}
		apply.took = append(apply.took, took)
		if err := rest(ctx); err != nil {
			return nil, err
		}
		took, err = plain.turn(ctx, revision-1, revision)
		if err != nil {
			return nil, err
		}
		floor.took = append(floor.took, took)
	}
	apply.whole, floor.whole = time.Since(began), time.Since(began)
	bottom, top := floor.figures(), apply.figures()
	bottom.Rate, top.Rate = 0, 0 // nothing is applied as fast as can be
	top.against(bottom)
	return []Figures{bottom, top}, nil
}

// rest lets the engine's work after an answer (old workers, old versions, a look
// for drift) end, as bare's own wait for the last answer does, so that neither is
// measured beside what the other left.
func rest(ctx context.Context) error {
	select {
	case <-time.After(quiet):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
