package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// targets are the nodes that a command is for: named, listed in a file, or
// chosen by what they are. Every verb that takes nodes has the same flags.
type targets struct {
	selector, fields, from string
	all, drained           bool
	limit                  portion
	seed                   string
	pace                   pace
}

// pace says how many nodes have a command at a time.
type pace struct {
	most int
	per  map[string]int
	slot days
}

func (p *pace) flags(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&p.most, "max", 0, "so many nodes at a time; a station sends the next when one has ended, also when you are gone")
	f.StringToIntVar(&p.per, "max-per", nil, "so many at a time of those with the same value of a label, as `LABEL=N`")
	p.slot = days(5 * time.Minute)
	f.Var(&p.slot, "slot", "with --max and --max-per: after so long without an end a node does not count any more")
}

// on sets an order's bounds. The error is about what was given.
func (p *pace) on(o *message.Order) error {
	if p.most < 0 {
		return usagef("--max %d: use 1 or more", p.most)
	}
	for label, n := range p.per {
		if n < 1 {
			return usagef("--max-per %s=%d: use 1 or more", label, n)
		}
	}
	if p.most == 0 && len(p.per) == 0 {
		return nil
	}
	if p.slot < days(time.Second) {
		return usagef("--slot %s: use 1s or more", p.slot.String())
	}
	o.Most, o.Per, o.Slot = p.most, p.per, time.Duration(p.slot).Seconds()
	return nil
}

// targetsUse is how a verb that takes nodes writes them in its usage.
const targetsUse = "NODE… | -l SELECTOR"

func (t *targets) flags(a *app, c *cobra.Command) {
	t.editFlags(a, c)
	t.pace.flags(c)
}

// editFlags are those of verbs that change what is stored of nodes, all at once.
func (t *targets) editFlags(a *app, c *cobra.Command) {
	t.chooseFlags(a, c)
	c.Flags().BoolVar(&t.all, "all", false, "every node")
	c.Flags().BoolVar(&t.drained, "include-drained", false, "choose drained nodes too; one that is named is meant anyhow")
}

// chooseFlags are those of verbs that show nodes: all of them, and drained ones
// too, unless something is said.
func (t *targets) chooseFlags(a *app, c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&t.selector, "selector", "l", "", "nodes whose labels match, such as role=edge,region!=eu")
	f.StringVar(&t.fields, "field", "", "nodes of which that is known, such as presence=online,nginx.version>=1.22; completion lists the fields")
	f.StringVar(&t.from, "nodes-from", "", "nodes that a `FILE` lists, one a line; - is standard input")
	f.Var(&t.limit, "limit", "so many of them at most, or a part such as 10%; at least one")
	f.StringVar(&t.seed, "random-seed", "", "which of them --limit leaves: the same for the same `SEED`; by name without it")
	for name, complete := range map[string]cobra.CompletionFunc{
		"field": completeFields, "selector": cobra.NoFileCompletions, "limit": cobra.NoFileCompletions, "random-seed": cobra.NoFileCompletions,
	} {
		if err := c.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag was made above
		}
	}
}

// portion is a number of nodes, or a part of them.
type portion struct {
	count   int
	percent float64
}

func (s *portion) String() string {
	switch {
	case s.percent > 0:
		return strconv.FormatFloat(s.percent, 'f', -1, 64) + "%"
	case s.count > 0:
		return strconv.Itoa(s.count)
	}
	return ""
}

func (s *portion) Type() string { return "N|N%" }

func (s *portion) Set(text string) error {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p > 0 && p <= 100) { // so NaN is refused too
			return fmt.Errorf("%q is no part: use 1%% to 100%%", text)
		}
		*s = portion{percent: p}
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of nodes: use 1 or more, or a part such as 10%%", text)
	}
	*s = portion{count: n}
	return nil
}

// of is how many of so many that is: a part is rounded up.
func (s *portion) of(all int) int {
	switch {
	case s.percent > 0:
		return min(all, int(math.Ceil(float64(all)*s.percent/100)))
	case s.count > 0:
		return min(all, s.count)
	}
	return all
}

// chosen are nodes, and how they were.
type chosen struct {
	names []string
	what  string // for people, and for the order; "" where each was named
	pace  pace
}

// choosing reports whether nodes are chosen by what they are.
func (t *targets) choosing() bool { return t.selector != "" || t.fields != "" || t.all }

// describe is how nodes are chosen, as it was written.
func (t *targets) describe() string {
	var parts []string
	for _, p := range []struct{ flag, value string }{{"-l", t.selector}, {"--field", t.fields}, {"--nodes-from", t.from},
		{"--limit", t.limit.String()}, {"--random-seed", t.seed}} {
		if p.value != "" {
			if strings.ContainsFunc(p.value, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("!<>()*'\"|", r) }) {
				p.value = strconv.Quote(p.value)
			}
			parts = append(parts, p.flag+" "+p.value)
		}
	}
	if t.all {
		parts = append(parts, "--all")
	}
	if t.drained {
		parts = append(parts, "--include-drained")
	}
	return strings.Join(parts, " ")
}

// asked is describe for people, who know what -l is.
func (t *targets) asked() string {
	if how := (&targets{selector: t.selector}).describe(); t.selector != "" && how == t.describe() {
		return strconv.Quote(t.selector)
	}
	return t.describe()
}

// find returns the nodes; the error says what to do where there is none.
func (t *targets) find(ctx context.Context, a *app, c *client.Client, args []string) (chosen, error) {
	names, err := t.named(a, args)
	listed := len(args) > 0 || t.from != ""
	switch {
	case err != nil:
		return chosen{}, err
	case !listed && !t.choosing():
		return chosen{}, usagef("name a NODE, or choose several with -l SELECTOR, --field, --nodes-from FILE or --all")
	case listed && t.choosing():
		return chosen{}, usagef("give NODE or -l SELECTOR, not both: a NODE or a list of them, or what chooses them (-l, --field, --all)")
	case listed && len(names) == 0:
		return chosen{}, fleet.Errorf(fleet.Unknown, "the list names no node")
	}
	found, err := c.Names(ctx, station.NodesQuestion{Selector: t.selector, Fields: t.fields, Names: names, Active: !listed && !t.drained})
	switch {
	case err != nil:
		return chosen{}, err
	case len(found) < len(names):
		return chosen{}, missing(ctx, c, names, found)
	case len(found) == 0:
		return chosen{}, t.nothing(ctx, c)
	}
	found, err = t.limited(found)
	return chosen{found, t.describe(), t.pace}, err
}

// list returns the nodes to show: all of them where nothing is said, and drained
// ones too. show is of a station.NodesQuestion.
func (t *targets) list(ctx context.Context, a *app, c *client.Client, args []string, show string) ([]station.NodeStatus, time.Time, error) {
	q, err := t.question(a, args)
	if err != nil {
		return nil, time.Time{}, err
	}
	q.Show = show
	nodes, now, err := c.Nodes(ctx, q)
	if err != nil {
		return nil, now, err
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	if len(names) < len(q.Names) && q.Selector == "" && q.Fields == "" {
		return nil, now, missing(ctx, c, q.Names, names)
	}
	left, err := t.limited(names)
	return slices.DeleteFunc(nodes, func(n station.NodeStatus) bool {
		_, stays := slices.BinarySearch(left, n.Name)
		return !stays
	}), now, err
}

// question is how to ask for the nodes to show.
func (t *targets) question(a *app, args []string) (station.NodesQuestion, error) {
	names, err := t.named(a, args)
	if err == nil && len(names) == 0 && (len(args) > 0 || t.from != "") {
		err = fleet.Errorf(fleet.Unknown, "the list names no node")
	}
	return station.NodesQuestion{Selector: t.selector, Fields: t.fields, Names: names}, err
}

// nothing says that no node is chosen, and why that may be.
func (t *targets) nothing(ctx context.Context, c *client.Client) error {
	what := t.asked()
	if !t.drained {
		s, err := c.Summary(ctx, station.NodesQuestion{Selector: t.selector, Fields: t.fields})
		if err == nil && s.Drained > 0 {
			return fleet.Errorf(fleet.Unknown, "no node matches %s but %s: --include-drained chooses those too", what, count(s.Drained, "drained one"))
		}
	}
	return fleet.Errorf(fleet.Unknown, "no node matches %s", what)
}

// missing says which nodes are not there.
func missing(ctx context.Context, c *client.Client, names, found []string) error {
	lacking := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, there := slices.BinarySearch(found, name)
		return there
	})
	if len(lacking) == 1 {
		if _, err := c.Node(ctx, lacking[0]); fleet.KindOf(err) == fleet.Unknown {
			return err // which knows what was meant
		}
		return fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", lacking[0])
	}
	return fleet.Errorf(fleet.Unknown, "%d of %d nodes are not there: %s; `fairlead nodes` lists those there are", len(lacking), len(names), client.NameNodes(lacking))
}

// named are the nodes that arguments and --nodes-from name, each once. An
// argument @FILE is a list, and so is -.
func (t *targets) named(a *app, args []string) (names []string, err error) {
	read := func(file string) error {
		list, err := a.readList(file)
		names = append(names, list...)
		return err
	}
	for _, arg := range args {
		file, isFile := strings.CutPrefix(arg, "@")
		switch {
		case isFile || arg == "-":
			err = read(file)
		default:
			names = append(names, arg)
		}
		if err != nil {
			return nil, err
		}
	}
	if t.from != "" {
		err = read(t.from)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// listMost is more than any list of nodes has, in bytes.
const listMost = 64 << 20

// readList reads names, separated by white space or commas; a # and what is
// behind it on its line are left out.
func (a *app) readList(file string) (names []string, err error) {
	var text []byte
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(a.stdin, listMost))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "list of nodes: %w", err)
	}
	line := 0
	for part := range bytes.Lines(text) {
		line++
		before, _, _ := bytes.Cut(part, []byte("#"))
		for _, name := range strings.FieldsFunc(string(before), func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
			if err := fleet.CheckNode(name); err != nil {
				return nil, fleet.Errorf(fleet.Invalid, "list of nodes %s:%d: %w", file, line, err)
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// limited are those that --limit leaves. A seed ranks the nodes, each by itself:
// those that were left stay so when others come or go.
func (t *targets) limited(names []string) ([]string, error) {
	most := t.limit.of(len(names))
	if t.seed == "" {
		return names[:most], nil
	}
	if t.limit == (portion{}) {
		return nil, usagef("--random-seed goes with --limit")
	}
	rank := func(name string) string {
		sum := sha256.Sum256([]byte(t.seed + "\x00" + name))
		return string(sum[:])
	}
	ranked := slices.Clone(names)
	slices.SortFunc(ranked, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	ranked = ranked[:most]
	slices.Sort(ranked)
	return ranked, nil
}

// completeFields completes the last requirement of a field selector: the
// field's name, or a value where the values are few.
func completeFields(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before, last := "", typed
	if i := strings.LastIndexByte(typed, ','); i >= 0 {
		before, last = typed[:i+1], typed[i+1:]
	}
	var found []string
	for _, f := range station.Fields() {
		for _, op := range []string{"!=", "="} {
			if strings.HasPrefix(last, f.Name+op) {
				for _, word := range f.Words {
					found = append(found, before+f.Name+op+word)
				}
				return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
			}
		}
		found = append(found, before+f.Name+"\t"+f.Summary)
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
