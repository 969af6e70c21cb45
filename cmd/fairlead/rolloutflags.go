package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/rollout"
)

// strategy are the flags that say how a change travels.
type strategy struct {
	rollout.Strategy
	waves, gates                   []string
	unavailable, failed            string
	bake, nodeTimeout, gateTimeout days
}

// strategyHelp is about them, for the help of what has them.
const strategyHelp = `
With --waves or --canary the change travels as a rollout: a station releases it to the nodes of one wave after the other, each
when the nodes of the one before that are there have proven it, their trial is over, and all gates hold for --bake. When
more nodes fail than may, all released nodes return to what was before. Nodes that are not there are not waited for. The
command line is not needed for it: ` + "`fairlead rollout status -w`" + ` watches it. docs/rollouts.md tells all of it.`

func (s *strategy) flags(c *cobra.Command) {
	s.nodeTimeout, s.gateTimeout = days(rollout.DefaultNodeTimeout), days(rollout.DefaultGateTimeout)
	f := c.Flags()
	f.StringSliceVar(&s.waves, "waves", nil, "`WAVES` as numbers of nodes or percentages of all, such as 1,5%,25%,100%")
	f.StringVar(&s.Canary, "canary", "", "`SELECTOR` of the nodes that are a wave of their own before all others")
	f.StringVar(&s.unavailable, "max-unavailable", "", "`N` or N% of nodes on their way at once (default a whole wave)")
	f.StringVar(&s.failed, "max-failed", "", "`N` nodes, or N% of those released so far, that may fail (default none)")
	f.Var(&s.bake, "bake", "how long a wave must be well before the next")
	f.StringArrayVar(&s.gates, "gate", nil, "`GATE` that must hold after each wave: approval, health:FIELD<N, 5xx<N%, 'prometheus:URL?query=…<N' or program:NAME; may be given several times")
	f.IntSliceVar(&s.ApproveAfter, "approve-after", nil, "numbers of the `WAVES` behind which a person is waited for")
	f.StringVar(&s.OnFailure, "on-failure", rollout.OnFailureRollback, "what to do when too many fail or a gate refuses: rollback or pause")
	f.Var(&s.nodeTimeout, "node-timeout", "how long a node that is there may take to prove the change")
	f.Var(&s.gateTimeout, "gate-timeout", "how long a gate may be impossible to ask")
	for name, words := range map[string][]string{"on-failure": {rollout.OnFailureRollback, rollout.OnFailurePause}, "gate": {"approval", "health:", "5xx<", "prometheus:", "program:"}} {
		if err := c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace)); err != nil {
			panic(err) // the flag was made above
		}
	}
}

// read is the strategy that somebody wants; wanted is false where the change is to
// be made at once.
func (s *strategy) read(c *cobra.Command) (how rollout.Strategy, wanted bool, err error) {
	if len(s.waves) == 0 && s.Canary == "" {
		for _, name := range []string{"max-unavailable", "max-failed", "bake", "gate", "approve-after", "on-failure", "node-timeout", "gate-timeout"} {
			if c.Flags().Changed(name) {
				return how, false, usagef("--%s goes with --waves or --canary: without them the change is made at once", name)
			}
		}
		return how, false, nil
	}
	how = s.Strategy
	for _, text := range s.waves {
		a, err := rollout.ParseAmount(text)
		if err != nil {
			return how, false, usagef("--waves: %w", err)
		}
		how.Waves = append(how.Waves, a)
	}
	for flag, amount := range map[string]struct {
		text string
		to   *rollout.Amount
	}{"max-unavailable": {s.unavailable, &how.MaxUnavailable}, "max-failed": {s.failed, &how.MaxFailed}} {
		if amount.text == "" {
			continue
		}
		if *amount.to, err = rollout.ParseAmount(amount.text); err != nil {
			return how, false, usagef("--%s: %w", flag, err)
		}
	}
	how.Bake, how.Gates = rollout.Duration(s.bake), s.gates
	how.NodeTimeout, how.GateTimeout = rollout.Duration(s.nodeTimeout), rollout.Duration(s.gateTimeout)
	if how, err = how.Complete(); err != nil {
		return how, false, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return how, true, checkGates(how.Gates)
}

// described is a strategy on a line.
func described(s rollout.Strategy) string {
	var waves []string
	for _, w := range s.Waves {
		waves = append(waves, w.String())
	}
	text := strings.Join(waves, ", ")
	if s.Canary != "" {
		text = "canary " + s.Canary + ", " + text
	}
	if !s.MaxUnavailable.IsZero() {
		text += fmt.Sprintf("; at most %s at once", s.MaxUnavailable)
	}
	if !s.MaxFailed.IsZero() {
		text += fmt.Sprintf("; at most %s may fail", s.MaxFailed)
	}
	if s.Bake > 0 {
		text += "; bakes " + time.Duration(s.Bake).String()
	}
	return text + "; on failure " + s.OnFailure
}
