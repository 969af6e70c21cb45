package bench

import (
	"context"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
)

// waveBake is how long each wave of a measured rollout must be well: long enough
// for a station to look several times.
const waveBake = time.Second

// wavesTime bounds a change of the whole fleet.
const wavesTime = 10 * time.Minute

// rollout gives every node a site, all at once, and then another one in waves.
func (m *scaling) rollout(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wavesTime)
	defer cancel()
	m.options.Progress("a change of %d nodes at once", m.o.Nodes)
	before, err := m.processors()
	if err != nil {
		return err
	}
	begun := time.Now()
	plan, err := m.client.Plan(ctx, site("one"), false)
	if err != nil {
		return err
	}
	if _, err := m.client.Apply(ctx, plan); err != nil {
		return err
	}
	if err := m.serving(ctx); err != nil {
		return err
	}
	change, err := m.since(before, nameChange, m.o.Nodes, time.Since(begun))
	if err != nil {
		return err
	}
	travels, err := m.waves(ctx)
	if err != nil {
		return err
	}
	for _, f := range []*Figures{&change, &travels} {
		f.Against, f.Ratio = m.floor.Name, f.Rate/m.floor.Rate
	}
	m.result.Figures = append(m.result.Figures, change, travels)
	return nil
}

// waves has a change travel, and holds that it came to every node.
func (m *scaling) waves(ctx context.Context) (f Figures, err error) {
	m.options.Progress("a rollout over %d nodes in %d waves", m.o.Nodes, len(rollout.DefaultWaves))
	before, err := m.processors()
	if err != nil {
		return f, err
	}
	begun := time.Now()
	plan, err := m.client.Plan(ctx, site("two"), false)
	if err != nil {
		return f, err
	}
	planned := time.Since(begun)
	id, err := m.client.StartRollout(ctx, plan, rollout.Strategy{Waves: rollout.DefaultWaves, Bake: rollout.Duration(waveBake)}, "")
	if err != nil {
		return f, err
	}
	r, err := m.ended(ctx, id)
	if err != nil {
		return f, err
	}
	if f, err = m.since(before, nameRollout, m.o.Nodes, time.Since(begun)); err != nil {
		return f, err
	}
	m.result.Rollout = Travelled{Waves: len(r.Steps), Bake: waveBake, Plan: planned, AtEnd: r.State.Counts}
	if r.State.Phase != rollout.Complete || r.State.Released != m.o.Nodes || r.State.Counts.Failed > 0 {
		return f, fleet.Errorf(fleet.Failed, "the rollout over %d nodes ended as %s %s: %+v", m.o.Nodes, r.Progress, r.State.Reason, r.State)
	}
	// A node that was taken for away this moment is pending, and has it all the same.
	if err := m.serving(ctx); err != nil {
		return f, err
	}
	if r, _, err = m.client.Rollout(ctx, id); err != nil {
		return f, err
	}
	m.result.Rollout.Counts = r.State.Counts
	if want := (rollout.Counts{Applied: m.o.Nodes}); r.State.Counts != want {
		return f, fleet.Errorf(fleet.Failed, "of the rollout over %d nodes became: %+v", m.o.Nodes, r.State.Counts)
	}
	return f, nil
}

// ended waits for the end of a rollout, and returns it as it ended.
func (m *scaling) ended(ctx context.Context, id string) (r station.RolloutStatus, err error) {
	for {
		begun := time.Now()
		all, err := m.client.Rollouts(ctx, station.RolloutsQuestion{ID: id})
		if err == nil && len(all) == 1 && all[0].State.Phase.Ended() {
			return all[0], nil
		}
		if paused := lookLater(ctx, begun); paused != nil {
			if err == nil && len(all) == 1 {
				return all[0], fleet.Errorf(fleet.Timeout, "the rollout is %s %s: %w", all[0].Progress, all[0].State.Reason, paused)
			}
			return r, fleet.Errorf(fleet.Timeout, "the rollout has not ended: %w", err)
		}
	}
}

// serving waits until every node has proven what it should be.
func (m *scaling) serving(ctx context.Context) error {
	for {
		begun := time.Now()
		sum, err := m.client.Summary(ctx, station.NodesQuestion{})
		if err == nil && sum.Sync[station.InSync] == m.o.Nodes {
			return nil
		}
		if paused := lookLater(ctx, begun); paused != nil {
			return fleet.Errorf(fleet.Timeout, "%d of %d nodes are in sync: %w", sum.Sync[station.InSync], m.o.Nodes, paused)
		}
	}
}

// site is one virtual host for every node.
func site(text string) manifest.Set {
	spec := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: 8080}}, ServerNames: []string{"bench.example.org"},
		Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: text}}}}
	return manifest.Of(fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: "bench"}, Spec: spec})
}
