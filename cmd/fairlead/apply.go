package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

func newApply(a *app) *cobra.Command {
	var paths []string
	var dry dryRun
	var wait bool
	var why reason
	var w waiting
	var how strategy
	c := &cobra.Command{
		Use:   "apply -f PATH",
		Short: "store resources and have the nodes converge to them",
		Long: `Checks all files, plans what every node will run, and stores the resources: all of them or none.
Nodes that are there take the change at once; the others when they return. With --wait it ends when every
node that is there has proven it: exit code 0 all succeeded, 1 some failed, 3 some are still pending.
A node that cannot take a resource, because its nginx or its labels lack something, is named with the reason
before anything is sent; it goes on without that resource, the rest is applied, and the exit code is 1.

With --dry-run=nodes the nodes concerned check what they would get with their own nginx, and nothing is stored or served of it.
The exit code is that of their answers: 0 all take it, 1 some refuse it, 3 some did not answer in time.
` + strategyHelp,
		Example: `  fairlead apply -f examples/hello --wait
  fairlead apply -f site.yaml --dry-run
  fairlead apply -f site.yaml --dry-run=nodes --limit 10%
  fairlead apply -f site.yaml --message 'new price list' --wait
  cat site.yaml | fairlead apply -f -
  fairlead apply -f site.yaml --waves 1,5%,25%,100% --bake 30s --wait
  fairlead apply -f site.yaml --canary role=test --gate approval --gate '5xx<1%'`,
		Args: cobra.NoArgs,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		waves, wanted, err := how.read(cmd)
		if err != nil {
			return err
		}
		return a.withSet(&paths, func(ctx context.Context, c *client.Client, set manifest.Set) error {
			plan, err := c.Plan(ctx, set, false)
			if err != nil {
				return err
			}
			if dry.mode != "" {
				return a.dryRun(ctx, c, plan, dry, w.timeout)
			}
			plan.Message = string(why)
			if wanted {
				return a.beginRollout(ctx, c, plan, waves, "", wait, timeoutOf(cmd, w.timeout))
			}
			return a.carryOut(ctx, c, plan, wait, w.timeout)
		})(cmd, args)
	}
	pathFlag(c, &paths)
	dry.flags(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait until the nodes that are there have proven the change")
	why.flag(c)
	w.timeout = days(time.Minute)
	c.Flags().Var(&w.timeout, "timeout", "how long to wait; the change itself goes on; for a rollout without end unless given")
	how.flags(c)
	return c
}

func pathFlag(c *cobra.Command, paths *[]string) {
	optionalPathFlag(c, paths)
	if err := c.MarkFlagRequired("file"); err != nil {
		panic(err) // the flag was made above
	}
}

func optionalPathFlag(c *cobra.Command, paths *[]string) {
	c.Flags().StringArrayVarP(paths, "file", "f", nil, "`PATH` of a file or directory with resources, - for standard input; may be given several times")
	if err := c.MarkFlagFilename("file", "yaml", "yml", "json"); err != nil {
		panic(err)
	}
}

// withSet reads files, and runs f with a connection when they are right.
func (a *app) withSet(paths *[]string, f func(ctx context.Context, c *client.Client, set manifest.Set) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		set, err := manifest.Load(*paths...)
		if err != nil {
			return err
		}
		return a.with(func(ctx context.Context, c *client.Client, _ []string) error { return f(ctx, c, set) })(cmd, args)
	}
}

// applied is what apply prints for machines.
type applied struct {
	Resources []client.ResourceChange `json:"resources"`
	Nodes     []client.Outcome        `json:"nodes"`
	Unfit     map[string]string       `json:"unfit,omitempty"`
	LeftOut   []client.LeftOut        `json:"leftOut,omitempty"`
}

// carryOut stores a plan and tells what became of it.
func (a *app) carryOut(ctx context.Context, c *client.Client, plan client.Plan, wait bool, timeout days) error {
	w, err := c.Listen(ctx, "*")
	if err != nil {
		return err
	}
	defer w.Close()
	a.sayLeftOut(plan) // before anything is sent
	done, err := c.Apply(ctx, plan)
	if err != nil {
		a.sayOvertaken(err)
		return err
	}
	for _, text := range plan.Warnings {
		a.say("%s", text)
	}
	result := applied{Resources: plan.Resources, Nodes: []client.Outcome{}, LeftOut: plan.LeftOut}
	machine := a.output == "json" || a.output == "yaml"
	if !machine {
		a.printResources(plan)
	}
	if done.Sequence == 0 {
		a.say("nothing changed")
		// What was applied before may not have come through: never tell that as good.
		if done.Nodes, err = behind(ctx, c, plan); err != nil {
			return err
		}
	}
	sent, unfit, err := c.Told(ctx, done)
	if err != nil {
		a.say("stored; what the nodes make of it is not known yet: %v", err)
		return exitError(message.ExitPending)
	}
	result.Unfit = unfit
	a.sayUnfit(unfit)
	if done.Sequence > 0 && len(sent) == 0 && len(unfit) == 0 && !machine {
		a.say("no node becomes another by it: `fairlead nodes` shows their labels")
	}
	if !wait {
		for _, s := range sent {
			result.Nodes = append(result.Nodes, client.Outcome{Sent: s, State: message.Published})
		}
		if machine {
			if err := a.print(result, nil, nil); err != nil {
				return err
			}
			return leftOutExit(plan, unfit)
		}
		if done.Sequence > 0 && len(sent) > 0 {
			a.say("%s told; `fairlead status` shows how far they are", count(len(sent), "node"))
		} else if len(sent) > 0 {
			a.say("%s not there yet; `fairlead status` shows why", count(len(sent), "node"))
		}
		return leftOutExit(plan, unfit)
	}
	a.goesOn = "the change goes on: `fairlead status` shows how far it is"
	if done.Sequence > 0 {
		a.goesOn += fmt.Sprintf(", `fairlead rollback --change %d` takes it back", done.Sequence)
	}
	result.Nodes = a.waitFor(ctx, c, w, sent, timeout)
	if machine {
		err = a.print(result, nil, nil)
	} else if len(result.Nodes) > 0 {
		err = a.printOutcomes(ctx, c, result.Nodes)
	}
	var code exitError
	if err != nil && !errors.As(err, &code) {
		return err
	}
	if done.Sequence == 0 {
		a.sayTryAgain(result.Nodes)
	}
	if part := leftOutExit(plan, unfit); part != nil && code != exitInterrupted {
		return part
	}
	if machine {
		return a.end(ctx, result.Nodes)
	}
	return err
}

// sayTryAgain says how a node tries once more what it has failed with, since
// applying the same again does not make it.
func (a *app) sayTryAgain(outcomes []client.Outcome) {
	for _, o := range outcomes {
		if o.State == message.FailedEnd {
			a.say("%s failed before, and is not asked again by the same resources: mend them; %s", o.Node, tryAgain(o.Node))
			return
		}
	}
}

// sayOvertaken shows what two people made of the same, where that is the error.
func (a *app) sayOvertaken(err error) {
	var o *client.Overtaken
	if !errors.As(err, &o) {
		return
	}
	for _, c := range o.Changes {
		theirs := c.Theirs[len(c.Theirs)-1]
		switch {
		case c.Same:
			a.say("%s: %s and you make the same of it", c.Resource, theirs.By)
		default:
			a.say("%s: what %s made of it\n%s%s: what you would make of it\n%s", c.Resource, theirs.By, a.paintDiff(c.TheirDiff), c.Resource,
				strings.TrimSuffix(a.paintDiff(c.YourDiff), "\n"))
		}
	}
}

// sayLeftOut tells which nodes cannot take which resource.
func (a *app) sayLeftOut(plan client.Plan) {
	for _, l := range plan.LeftOut {
		a.say("%s cannot take %s: %s", client.NameNodes(l.Nodes), l.Resource, l.Reason)
	}
}

// sayUnfit tells which nodes cannot take a change at all, once for each reason.
func (a *app) sayUnfit(unfit map[string]string) {
	nodes := make(map[string][]string)
	for _, node := range slices.Sorted(maps.Keys(unfit)) {
		nodes[unfit[node]] = append(nodes[unfit[node]], node)
	}
	for _, why := range slices.Sorted(maps.Keys(nodes)) {
		a.say("%s cannot take it: %s", client.NameNodes(nodes[why]), why)
	}
}

// leftOutExit is the exit code for a plan that some nodes take in part only, or
// not at all.
func leftOutExit(plan client.Plan, unfit map[string]string) error {
	if len(plan.LeftOut)+len(unfit) > 0 {
		return exitError(message.ExitFailed)
	}
	return nil
}

// behind are the nodes that one of a plan's resources is for and that are not
// what they should be.
func behind(ctx context.Context, c *client.Client, plan client.Plan) ([]client.NodeChange, error) {
	nodes, _, err := c.Nodes(ctx, station.NodesQuestion{})
	if err != nil {
		return nil, err
	}
	var late []string
	for _, n := range nodes {
		if n.Sync == station.InSync || n.Sync == station.NoneDue {
			continue
		}
		desired, err := c.Desired(ctx, n.Name)
		if fleet.KindOf(err) == fleet.Unknown {
			continue
		}
		if err != nil {
			return nil, err
		}
		concerned := slices.ContainsFunc(plan.Resources, func(p client.ResourceChange) bool {
			return slices.ContainsFunc(desired.Resources, func(r fleet.Resource) bool { return r.ID() == p.Resource })
		})
		if concerned {
			late = append(late, n.Name)
		}
	}
	if late == nil {
		return nil, nil
	}
	return []client.NodeChange{{Nodes: late}}, nil
}

func (a *app) printResources(plan client.Plan) {
	for _, r := range plan.Resources {
		word := map[string]string{client.Create: "created", client.Update: "changed", client.Remove: "deleted", client.Unchanged: "unchanged"}[r.Action]
		fmt.Fprintf(a.stdout, "%s %s\n", r.Resource, word)
	}
}

// printPlan shows what a change would do.
func (a *app) printPlan(ctx context.Context, c *client.Client, set manifest.Set, remove bool) error {
	plan, err := c.Plan(ctx, set, remove)
	if err != nil {
		return err
	}
	return a.showPlan(plan)
}

func (a *app) showPlan(plan client.Plan) error {
	if a.output == "json" || a.output == "yaml" {
		return a.print(plan, nil, nil)
	}
	a.showResources(plan.Resources, " of what %s wrote")
	a.showNodes(plan.Nodes, "would run")
	for _, text := range plan.Warnings {
		a.say("%s", text)
	}
	for _, l := range plan.LeftOut {
		fmt.Fprintf(a.stdout, "\n%s cannot take %s: %s\n", client.NameNodes(l.Nodes), l.Resource, l.Reason)
	}
	switch {
	case plan.Changes() == 0:
		a.say("nothing would change")
	case len(plan.Nodes) == 0:
		a.say("%s would change, and no node", count(plan.Changes(), "resource"))
	}
	return nil
}

// showResources prints what becomes of each resource, and what its writer has to do
// with it.
func (a *app) showResources(all []client.ResourceChange, writer string) {
	for _, r := range all {
		who := ""
		if r.By != "" && r.Action != client.Unchanged {
			who = fmt.Sprintf(writer, r.By)
		}
		fmt.Fprintf(a.stdout, "%s: %s%s\n", r.Resource, r.Action, who)
		fmt.Fprint(a.stdout, a.paintDiff(r.Diff))
		for _, name := range r.Passwords {
			fmt.Fprintf(a.stdout, "password of %s changed\n", name)
		}
	}
}

// mostGroups is how many groups of nodes have a line of their own; -o wide has all.
const mostGroups = 20

// showNodes prints what nodes render otherwise, those together for which it is the
// same, and then a line for each of those groups. Of groups that differ by what is the
// nodes' own, the first is shown for all.
func (a *app) showNodes(all []client.NodeChange, verb string) {
	for _, alike := range client.Alike(all) {
		first, others := alike[0], []string(nil)
		for _, n := range alike[1:] {
			others = append(others, n.Nodes...)
		}
		fmt.Fprintf(a.stdout, "\n%s %s %s:\n", client.NameNodes(first.Nodes), verb, short(first.Digest))
		fmt.Fprint(a.stdout, a.paintDiff(first.Diff))
		if len(others) > 0 {
			fmt.Fprintf(a.stdout, "and on %s the same, but for what is a node's own: address, labels, facts\n", client.NameNodes(others))
		}
	}
	if len(all) > 0 {
		fmt.Fprintln(a.stdout)
	}
	for i, n := range all {
		if i == mostGroups && a.output != "wide" {
			fmt.Fprintf(a.stdout, "… and %s more; -o wide lists them\n", count(len(all)-i, "group"))
			break
		}
		files, more, less := extent(n.Diff)
		fmt.Fprintf(a.stdout, "%s (%s): digest %s to %s, %s, +%d -%d\n", count(len(n.Nodes), "node"), client.NameNodes(n.Nodes),
			short(cmp.Or(n.Before, "none")), short(n.Digest), count(files, "file"), more, less)
	}
}

// extent is how much a unified diff of several files changes: files, and lines that
// are new or gone.
func extent(diff string) (files, more, less int) {
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "+++ "):
			files++
		case strings.HasPrefix(line, "--- "):
		case strings.HasPrefix(line, "+"):
			more++
		case strings.HasPrefix(line, "-"):
			less++
		}
	}
	return files, more, less
}

func (a *app) paintDiff(text string) string {
	if !a.colour {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "+"):
			b.WriteString(a.paint(green, strings.TrimSuffix(line, "\n")) + "\n")
		case strings.HasPrefix(line, "-"):
			b.WriteString(a.paint(red, strings.TrimSuffix(line, "\n")) + "\n")
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}
