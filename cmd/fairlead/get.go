package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
)

func newGet(a *app) *cobra.Command {
	var revision uint64
	c := &cobra.Command{
		Use:   "get [KIND] [NAME] [--revision REV]",
		Short: "show stored resources",
		Long:  `Shows what is stored. With --revision it is what a resource was at one of its kept revisions, which ` + "`fairlead history`" + ` lists.`,
		Example: `  fairlead get
  fairlead get VirtualHost
  fairlead get VirtualHost hello -o yaml
  fairlead get VirtualHost hello --revision 7 -o yaml`,
		Args: cobra.MaximumNArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeResources(cmd, args, typed)
		},
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			kind, name, err := kindAndName(args)
			if err != nil {
				return err
			}
			if revision > 0 && name == "" {
				return usagef("--revision goes with KIND NAME")
			}
			var found []client.Resource
			if revision > 0 {
				found, err = a.atRevision(ctx, c, kind, name, revision)
			} else {
				found, err = c.Resources(ctx, kind, name)
			}
			if err != nil {
				return err
			}
			if len(found) == 0 {
				a.say("%s", none(kind, name))
				if name != "" || kind != "" {
					return exitError(message.ExitNothing)
				}
			}
			plain := make([]fleet.Resource, len(found))
			for i, r := range found {
				plain[i] = fleet.Shown(r.Resource)
			}
			if a.output == "yaml" {
				text, err := manifest.Marshal(plain)
				if err != nil {
					return err
				}
				_, err = a.stdout.Write(text)
				return err
			}
			if kind == "Certificate" && (a.output == "table" || a.output == "wide") && len(found) > 0 {
				return a.printCertificates(ctx, c, found)
			}
			return a.print(plain, func(t *table) {
				t.cut = true
				if len(found) == 0 {
					return
				}
				t.row("KIND", "NAME", "SELECTOR", "BY", "WHAT")
				for _, r := range found {
					selector, what := about(r.Resource)
					t.row(r.Kind, r.Metadata.Name, selector, r.By, what)
				}
			}, func() []string {
				var ids []string
				for _, r := range plain {
					ids = append(ids, r.ID())
				}
				return ids
			})
		}),
	}
	c.Flags().Uint64Var(&revision, "revision", 0, "as it was at this `REV`ision")
	a.completeRevisions(c, "revision")
	return c
}

// atRevision is a resource as it was once.
func (a *app) atRevision(ctx context.Context, c *client.Client, kind, name string, revision uint64) ([]client.Resource, error) {
	r, err := c.Revision(ctx, kind, name, revision)
	if err != nil {
		return nil, err
	}
	value, ok := r.Value()
	if !ok {
		if r.Action == client.Remove && r.Proven {
			return nil, fleet.Errorf(fleet.Unknown, "revision %d of %s is its removal", revision, r.Resource)
		}
		return nil, fleet.Errorf(fleet.Unknown, "revision %d of %s cannot be read: %s", revision, r.Resource, r.Problem)
	}
	if !r.Proven {
		a.say("this is not proven, and stations ignore it: %s", r.Problem)
	}
	return []client.Resource{{Resource: value, By: r.By, Sequence: revision}}, nil
}

// completeResources knows the kinds, and after one, or after KIND/, the names of what
// is stored.
func (a *app) completeResources(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := ""
	if written, _, ok := strings.Cut(typed, "/"); ok && len(args) == 0 {
		args, before = []string{written}, written+"/"
	}
	if len(args) == 0 {
		return fleet.Kinds(), cobra.ShellCompDirectiveNoFileComp
	}
	kind, _, err := kindAndName(args[:1])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	c, err := a.open(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	found, err := c.Resources(ctx, kind, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range found {
		if !slices.Contains(args[1:], r.Metadata.Name) {
			names = append(names, before+r.Metadata.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func none(kind, name string) string {
	switch {
	case name != "":
		return fmt.Sprintf("no %s %q: `fairlead get %s` lists those there are", kind, name, kind)
	case kind != "":
		return "no " + kind + " is stored"
	}
	return "no resource is stored: `fairlead apply -f examples/hello` stores one"
}

// kindAndName reads "KIND", "KIND NAME" or "KIND/NAME"; a kind may be written
// in any case and in the plural.
func kindAndName(args []string) (kind, name string, err error) {
	if len(args) == 0 {
		return "", "", nil
	}
	kind = args[0]
	if k, n, ok := strings.Cut(kind, "/"); ok {
		kind, name = k, n
	}
	if len(args) == 2 {
		name = args[1]
	}
	for _, k := range fleet.Kinds() {
		if strings.EqualFold(kind, k) || strings.EqualFold(kind, k+"s") {
			return k, name, nil
		}
	}
	if near := fleet.Nearest(kind, fleet.Kinds()); near != "" {
		return "", "", usagef("no kind %q: did you mean %s?", kind, near)
	}
	return "", "", usagef("no kind %q: use one of %s", kind, strings.Join(fleet.Kinds(), ", "))
}

// about is a resource in a few words.
func about(r fleet.Resource) (selector, what string) {
	switch spec := r.Spec.(type) {
	case *fleet.VirtualHost:
		var listens []string
		for _, l := range spec.Listen {
			listens = append(listens, strings.TrimPrefix(fmt.Sprintf("%s:%d", l.Address, l.Port), ":"))
		}
		return all(spec.Selector), strings.Join(spec.ServerNames, " ") + " on " + strings.Join(listens, " ")
	case *fleet.Upstream:
		var servers []string
		for _, s := range spec.Servers {
			servers = append(servers, s.Address)
		}
		return "-", strings.Join(slices.Compact(servers), " ")
	case *fleet.Stream:
		var listens []string
		for _, l := range spec.Listen {
			listens = append(listens, strings.TrimPrefix(fmt.Sprintf("%s:%d", l.Address, l.Port), ":"))
		}
		to := spec.Upstream
		if len(spec.Routes) > 0 {
			to = fmt.Sprintf("%d names", len(spec.Routes))
		}
		return all(spec.Selector), strings.Join(listens, " ") + " to " + to
	case *fleet.Certificate:
		chain, err := spec.Chain()
		if err != nil {
			return "-", ""
		}
		return "-", strings.Join(fleet.Names(chain[0]), " ") + " until " + chain[0].NotAfter.UTC().Format(time.DateOnly)
	case *fleet.Policy:
		return "-", policyWhat(spec)
	case *fleet.Split:
		return "-", splitWhat(spec)
	case *fleet.NodePolicy:
		return all(spec.Selector), "drift " + cmp.Or(spec.Drift, fleet.DriftEnforce)
	case *fleet.ConfigFile:
		return all(spec.Selector), spec.Context + ", " + size(uint64(len(spec.Content)))
	}
	return "", ""
}

func all(selector string) string {
	if selector == "" {
		return "every node"
	}
	return selector
}

func policyWhat(p *fleet.Policy) string {
	var parts []string
	if p.RateLimit != nil {
		parts = append(parts, p.RateLimit.Rate)
	}
	if p.ConnLimit != nil {
		parts = append(parts, fmt.Sprintf("%d at once", p.ConnLimit.Max))
	}
	if n := len(p.Addresses); n > 0 {
		parts = append(parts, count(n, "address line"))
	}
	if p.WAF != nil {
		parts = append(parts, "waf")
	}
	return strings.Join(parts, ", ")
}

func splitWhat(s *fleet.Split) string {
	var parts []string
	for _, b := range s.Branches {
		share := "the rest"
		if b.Percent != nil {
			share = fmt.Sprintf("%d%%", *b.Percent)
		}
		parts = append(parts, b.Upstream+" "+share)
	}
	return strings.Join(parts, ", ")
}
