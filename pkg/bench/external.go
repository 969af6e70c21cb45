package bench

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
)

// vacant holds that a tenant of a broker that runs already has neither nodes nor
// resources. What a measurement left there that was killed is taken out.
func (m *scaling) vacant(ctx context.Context) error {
	if m.options.Broker == "" {
		return nil
	}
	const instead = "measure with a tenant of its own, which `fairlead tenant create bench` makes, by --tenant bench"
	nodes, _, err := m.client.Nodes(ctx, station.NodesQuestion{})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !simulatedNode(n) {
			return fleet.Errorf(fleet.Refused, "tenant %q has the node %s, and every node would serve what is measured: %s", m.authority.Tenant(), n.Name, instead)
		}
	}
	resources, err := m.client.Resources(ctx, "", "")
	if err != nil {
		return err
	}
	for _, r := range resources {
		if r.ID() != site("").Resources()[0].ID() {
			return fleet.Errorf(fleet.Refused, "tenant %q has %s, and its nodes would serve it beside what is measured: %s", m.authority.Tenant(), r.ID(), instead)
		}
	}
	m.taken = true
	return m.vacate(ctx)
}

// simulatedNode reports whether a node is one of a bench, by what it registers.
func simulatedNode(n station.NodeStatus) bool {
	i, err := strconv.Atoi(strings.TrimPrefix(n.Name, "n"))
	return err == nil && n.Name == nodeName(i) && maps.Equal(n.Labels, labelsOf(i))
}

// leave ends the nodes and takes out what a measurement put into a tenant of a
// broker that runs on, also where it was interrupted.
func (m *scaling) leave(ctx context.Context) error {
	if !m.taken {
		return nil
	}
	m.endCrew()
	m.crew = nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := m.vacate(ctx); err != nil {
		return fleet.Errorf(fleet.KindOf(err), "what was measured with is left in tenant %q, and the next bench takes it out: %w", m.authority.Tenant(), err)
	}
	return nil
}

// leaveTime bounds the tidying of a tenant.
const leaveTime = 5 * time.Minute

// vacate takes rollouts, nodes and the site of a bench out of its tenant.
func (m *scaling) vacate(ctx context.Context) error {
	rollouts, err := m.client.Rollouts(ctx, station.RolloutsQuestion{Open: true})
	if err != nil {
		return err
	}
	for _, r := range rollouts {
		if _, err := m.client.Steer(ctx, r.ID, rollout.Order{Do: rollout.OrderAbort}); err != nil && fleet.KindOf(err) != fleet.Conflict { // it is over
			return err
		}
		if _, err := m.ended(ctx, r.ID); err != nil {
			return err
		}
	}
	plan, err := m.client.Plan(ctx, site(""), true)
	if err != nil {
		return err
	}
	if plan.Changes() > 0 {
		if _, err := m.client.Apply(ctx, plan); err != nil {
			return err
		}
	}
	names, err := m.client.Names(ctx, station.NodesQuestion{})
	if err != nil {
		return err
	}
	if len(names) > 0 {
		m.options.Progress("taking %d nodes out of the register", len(names))
		if _, _, err := m.atOnce("", len(names), parallel, func(i int) error { return remove(ctx, m.client, names[i]) }); err != nil {
			return err
		}
	}
	return m.until(ctx, "nodes or commands of a bench are left", func(s station.Summary) bool { return s.Nodes == 0 && s.Waiting == 0 })
}

// remove takes a node out of the register, with what waits for it.
func remove(ctx context.Context, c *client.Client, name string) error {
	_, err := c.RemoveNode(ctx, name)
	if err != nil && fleet.KindOf(err) != fleet.Unknown {
		return err
	}
	_, ended := c.EndWaiting(ctx, name)
	return ended
}
