//go:build !node

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/bench"
)

func newBench(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "measure the whole system, as ratios to bare NATS and bare nginx",
		Long: `Starts a broker and a station as processes of their own, simulates agents with real connections, journals and
signatures, and measures. Every figure is also a ratio to bare NATS on the same broker, or to bare nginx, in the same run.`,
		Example: `  fairlead bench dispatch --nodes 100 --commands 500
  fairlead bench apply --runs 50
  fairlead bench join
  fairlead bench fleet --nodes 200
  fairlead bench chaos
  fairlead bench footprint`,
	}
	c.AddCommand(newBenchDispatch(a), newBenchApply(a), newBenchJoin(a), newBenchFleet(a), newBenchChart(a), newBenchAgents(), newBenchChaos(a), newBenchFootprint(a))
	return c
}

func (a *app) benchOptions(o *bench.Options) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	binary, err := os.Executable()
	o.Binary = binary
	o.Progress = func(format string, args ...any) {
		if a.terminal {
			a.progress("· "+format+" …", args...)
		} else {
			a.say("· "+format, args...)
		}
	}
	return err
}

func newBenchDispatch(a *app) *cobra.Command {
	var o bench.Options
	c := &cobra.Command{
		Use:   "dispatch",
		Short: "commands: published → run → final answer seen and proven",
		Example: `  fairlead bench dispatch
  fairlead bench dispatch --nodes 100 --commands 500 --json
  fairlead bench dispatch --sync always --journals /var/tmp`,
		Args:    cobra.NoArgs,
		PreRunE: positive,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.benchOptions(&o); err != nil {
				return err
			}
			d, err := bench.Dispatch(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.clearProgress()
			return a.print(d, func(t *table) { dispatchTable(t, d) }, func() []string { return nil })
		},
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 1000, "simulated agents")
	f.IntVar(&o.Commands, "commands", 5000, "commands over all of them")
	f.IntVar(&o.Singles, "singles", 1000, "commands one after the other")
	f.IntVar(&o.Burst, "burst", 1000, "commands at once to one agent")
	f.StringVar(&o.Sync, "sync", "2m", "when the broker's disk is synced: an interval, or always")
	f.BoolVar(&o.Plain, "plain", false, "without TLS, to see what it costs")
	f.StringVar(&o.Data, "data", "", "directory of the broker (default a temporary one)")
	f.StringVar(&o.Journals, "journals", "", "directory of the agents' journals (default in memory: one disk must not stand for a thousand)")
	return c
}

func dispatchTable(t *table, d bench.Dispatched) {
	t.row("WHAT", "COUNT", "P50", "P99", "PER SECOND", "RATIO")
	for _, f := range d.Figures {
		ratio := "1"
		if f.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f × %s", f.Ratio, f.Against)
		}
		t.row(f.Name, fmt.Sprint(f.Count), micros(f.P50), micros(f.P99), fmt.Sprintf("%.0f", f.Rate), ratio)
	}
	t.row("")
	for _, f := range d.Figures {
		if f.Agents > 0 {
			t.row("processor time for each", fmt.Sprintf("%s agent and client, %s broker, %s station (%s)", micros(f.Agents), micros(f.Broker), micros(f.Station), f.Name))
		}
		if f.Stored > 0 {
			t.row("answers stored for each", fmt.Sprintf("%.2f (%s)", f.Stored, f.Name))
		}
	}
	t.row("answered", fmt.Sprintf("%d of %d", d.Answered, d.Sent))
	t.row("station, at most", size(d.StationPeak))
	t.row("broker, at most", size(d.BrokerPeak))
	t.row("a synced write", fmt.Sprintf("%s broker, %s journals, %s disk", micros(d.SyncBroker), micros(d.SyncJournals), micros(d.SyncDisk)))
	t.row("machine", machine(d.Machine))
}

func micros(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(time.Microsecond).String()
}

func machine(m bench.Machine) string {
	return fmt.Sprintf("%s, %d cores, Linux %s, %s, %s", m.CPU, m.Cores, m.Kernel, m.Go, m.At.Format(time.DateOnly))
}

func newBenchFootprint(a *app) *cobra.Command {
	var o bench.Options
	after := days(time.Minute)
	c := &cobra.Command{
		Use:   "footprint",
		Short: "memory of an idle agent, station and broker",
		Example: `  fairlead bench footprint
  fairlead bench footprint --agent bin/fairlead-node`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.benchOptions(&o); err != nil {
				return err
			}
			if err := absolute(&o.Agent); err != nil {
				return err
			}
			f, err := bench.Idle(cmd.Context(), o, time.Duration(after))
			if err != nil {
				return err
			}
			a.clearProgress()
			return a.print(f, func(t *table) {
				t.row("agent", size(f.Agent))
				t.row("station", size(f.Station))
				t.row("broker", size(f.Broker))
				t.row("machine", machine(f.Machine))
			}, func() []string { return nil })
		},
	}
	c.Flags().Var(&after, "after", "how long they are idle before")
	c.Flags().StringVar(&o.Agent, "agent", "", "`PROGRAM` whose agent it is, such as the one for nodes (default this one)")
	return c
}
