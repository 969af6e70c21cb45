//go:build !node

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
)

func newBenchFleet(a *app) *cobra.Command {
	var o bench.ScaleOptions
	delay, steady, health := days(50*time.Millisecond), days(100*time.Second), days(0)
	light := false
	c := &cobra.Command{
		Use:   "fleet",
		Short: "a fleet of simulated nodes: what it costs at rest, questions, commands and changes of all, and its return",
		Long: `Runs so many agents, each with its own connection, JWT, journal and signatures, whose nginx is simulated: a change or a
reload takes --nginx-delay. Broker and station are processes of their own, so that what each costs can be told apart.

A change goes to every node at once, and another in the four waves of a rollout, 1, 5 %, 25 % and all, each with a bake of a second; every node
must have proven it.

Before the agents the same users connect without one, which is the floor that memory and commands are compared with. At the
end all links are cut, the broker is killed and started again, every node misses --missed commands, and all come back, 250 a
second, as agents do by themselves.

--broker measures one that runs already, best on another host. DIR/identity of --data is a copy of its identity directory, with the
keys that make users (rsync -a broker.example.org:/var/lib/fairlead/identity DIR/); the only change there are users n00000 and on. Every node of the tenant serves what is measured, so
a tenant with nodes or resources is refused: --tenant names another, which ` + "`fairlead tenant create`" + ` makes. What the bench put
there it takes out at its end; the audit stays. Processor time and memory of the broker are not seen, and it is not killed: the
links of all nodes are cut, while it goes on. Several addresses, separated by commas, are a cluster, which keeps streams
--replicas times.

--light is for as many nodes as memory holds: connections within the process of the broker, without TLS, that verify a command,
answer it signed and say that they live, without journal and handlers. Of a node it counts both ends together.`,
		Example: `  fairlead bench fleet
  fairlead bench fleet --nodes 10000 --json
  fairlead bench fleet --nodes 200 --plain --steady 10s
  fairlead bench fleet --nodes 100000 --light
  fairlead bench fleet --broker tls://broker.example.org:4222 --data bench`,
		Args:    cobra.NoArgs,
		PreRunE: positive,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkExternal(cmd, o); err != nil {
				return err
			}
			if err := a.benchOptions(&o.Options); err != nil {
				return err
			}
			o.NginxDelay, o.Steady, o.HealthEvery = time.Duration(delay), time.Duration(steady), time.Duration(health)
			measure := bench.Scale
			if light {
				measure = bench.Light
			}
			r, err := measure(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.clearProgress()
			return a.print(r, func(t *table) { scaleTable(t, r) }, func() []string { return nil })
		},
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 1000, "simulated nodes")
	f.IntVar(&o.Missed, "missed", 10, "commands that each node misses before all come back")
	f.IntVar(&o.Asked, "asked", 1000, "nodes that are asked how they are, all at once")
	f.IntVar(&o.Questions, "questions", 20, "how often each question is asked")
	f.Var(&delay, "nginx-delay", "what a simulated nginx takes for a change or a reload")
	f.Var(&steady, "steady", "how long nothing happens")
	f.Var(&health, "health", "time between a node's health reports (default 30s, of light nodes 2m)")
	f.BoolVar(&light, "light", false, "light nodes: connections within the broker's process that verify, answer and say that they live")
	f.StringVar(&o.Sync, "sync", "2m", "when the broker's disk is synced: an interval, or always")
	f.BoolVar(&o.Plain, "plain", false, "without TLS, to see what it costs")
	f.StringVar(&o.Broker, "broker", "", "`URL` of a broker that runs already (default one is started)")
	f.StringVar(&o.Tenant, "tenant", "", "with --broker: tenant to measure in, one without nodes and resources (default main)")
	f.IntVar(&o.Replicas, "replicas", 1, "with --broker: replicas of streams and buckets, 3 on a cluster")
	f.StringVar(&o.Data, "data", "", "directory of the broker (default a temporary one); with --broker one with a copy of its identities")
	f.StringVar(&o.Journals, "journals", "", "directory of the agents' journals (default in memory: one disk must not stand for a fleet)")
	return c
}

// checkExternal holds that flags go together where a broker runs already.
func checkExternal(cmd *cobra.Command, o bench.ScaleOptions) error {
	if o.Broker == "" {
		for _, name := range []string{"tenant", "replicas"} {
			if cmd.Flags().Changed(name) {
				return usagef("--%s goes with --broker: what is started here has one tenant and is no cluster", name)
			}
		}
		return nil
	}
	for _, name := range []string{"light", "plain", "sync"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is of a broker that is started here, and --broker is one that runs already", name)
		}
	}
	if o.Data == "" {
		return usagef("--broker goes with --data DIR, where DIR/identity is a copy of that broker's identity directory")
	}
	return nil
}

func scaleTable(t *table, r bench.Scaled) {
	t.row("WHAT", "COUNT", "P50", "P99", "TOOK", "PER SECOND", "RATIO")
	for _, f := range r.Figures {
		ratio := "1"
		if f.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f × %s", f.Ratio, f.Against)
		}
		t.row(f.Name, fmt.Sprint(f.Count), micros(f.P50), micros(f.P99), micros(f.Took), fmt.Sprintf("%.0f", f.Rate), ratio)
	}
	t.row("")
	for _, f := range r.Figures {
		if f.Agents > 0 {
			t.row("processor time for each", fmt.Sprintf("%s agents and client, %s broker, %s station (%s)", micros(f.Agents), micros(f.Broker), micros(f.Station), f.Name))
		}
		if f.Stored > 0 {
			t.row("answers stored for each", fmt.Sprintf("%.2f (%s)", f.Stored, f.Name))
		}
	}
	if r.Light {
		t.row("memory of each node", fmt.Sprintf("%s broker and node together, %.1f × %s; %s station", kib(r.Memory.Agents), r.MemoryRatio, bench.BareBefore, kib(r.Memory.Station)))
		t.row("processor at rest", fmt.Sprintf("%.1f %% of a core broker and nodes, %.1f × %s; %.1f %% station", 100*r.Idle.Agents, r.IdleRatio, bench.BareBefore, 100*r.Idle.Station))
		t.row("load before", fmt.Sprintf("%.1f", r.LoadBefore))
		t.row("machine", machine(r.Machine))
		return
	}
	if r.Broker != "" {
		t.row("memory of each node", fmt.Sprintf("%s station, %s agent; the broker's is not seen from here", kib(r.Memory.Station), kib(r.Memory.Agents)))
		t.row("processor at rest", fmt.Sprintf("%.1f %% of a core station, %.1f %% all agents", 100*r.Idle.Station, 100*r.Idle.Agents))
	} else {
		t.row("memory of each node", fmt.Sprintf("%s broker (%s without an agent), %s station, %s agent",
			kib(r.Memory.Broker), kib(r.Memory.Bare), kib(r.Memory.Station), kib(r.Memory.Agents)))
		t.row("processor at rest", fmt.Sprintf("%.1f %% of a core broker, %.1f %% station, %.1f %% all agents", 100*r.Idle.Broker, 100*r.Idle.Station, 100*r.Idle.Agents))
	}
	t.row("rollout in waves", fmt.Sprintf("%d nodes in %d waves: %d have proven it, %d failed, %d pending; %s of it planning, %s baking", r.Nodes, r.Rollout.Waves,
		r.Rollout.AtEnd.Applied, r.Rollout.AtEnd.Failed, r.Rollout.AtEnd.Pending, micros(r.Rollout.Plan), micros(time.Duration(r.Rollout.Waves)*r.Rollout.Bake)))
	var states []string
	for _, s := range slices.Sorted(maps.Keys(r.Storm.States)) {
		states = append(states, fmt.Sprintf("%d %s", r.Storm.States[s], s))
	}
	t.row("all come back", fmt.Sprintf("over %s; %d missed commands ended in %s, %.0f a second: %s", r.Storm.Over, r.Storm.Missed, micros(r.Storm.Took), r.Storm.Rate, strings.Join(states, ", ")))
	t.row("", fmt.Sprintf("%s agents, %s broker, %s station for each command", micros(r.Storm.Agents), micros(r.Storm.Broker), micros(r.Storm.Station)))
	if r.Broker != "" {
		t.row("", "their links alone were cut: the broker ran on")
	}
	t.row("load before", fmt.Sprintf("%.1f", r.LoadBefore))
	t.row("machine", machine(r.Machine))
}

func kib(bytes float64) string { return fmt.Sprintf("%.1f KiB", bytes/1024) }
