package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
)

func newAdopt(a *app) *cobra.Command {
	var conf string
	var dry, yes bool
	var w waiting
	c := &cobra.Command{
		Use:   "adopt NODE",
		Short: "turn a host's own nginx configuration into resources, and take it over",
		Long: `Reads the nginx configuration that a host has, on the node itself, and turns it into resources: virtual hosts and
upstreams where they say the same in full, raw configuration where they cannot. It shows them, with everything that
would not be the same afterwards, and what the node's nginx says against them.

With --dry-run that is all, and nothing is changed; -o yaml writes the resources for a file. Otherwise the resources
are stored and take the place of the host's configuration, in one step, while its nginx goes on; if they do not serve,
the host's own configuration is put back. It is kept beside its place as nginx.conf.before-fairlead.

For that the agent must care for the host's nginx, and not run one of its own:
  fairlead agent … --nginx external --nginx-conf /etc/nginx --nginx-pid /run/nginx.pid`,
		Example: `  fairlead adopt node1 --dry-run
  fairlead adopt node1 --dry-run -o yaml
  fairlead adopt node1 --conf /opt/nginx/nginx.conf --dry-run`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			found, err := a.readHost(ctx, c, args[0], conf, w)
			if err != nil {
				return err
			}
			if dry {
				return a.printAdopted(found)
			}
			return a.takeOver(ctx, c, args[0], found, yes, w)
		}),
	}
	f := c.Flags()
	f.StringVar(&conf, "conf", "", "`PATH` of the configuration on the node (default the one that its nginx runs, or /etc/nginx/nginx.conf)")
	f.BoolVar(&dry, "dry-run", false, "show what would become of it and change nothing")
	f.BoolVar(&yes, "yes", false, "do not ask before taking over")
	w.flags(a, c)
	w.timeout = days(time.Minute)
	return c
}

// readHost asks a node what its configuration becomes.
func (a *app) readHost(ctx context.Context, c *client.Client, node, conf string, w waiting) (found handlers.Adopted, err error) {
	answer, err := a.one(ctx, c, node, handlers.AdoptBody{Conf: conf}, w)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(answer.Result, &found); err != nil {
		return found, fleet.Errorf(fleet.Failed, "the node's answer cannot be read: %w", err)
	}
	return found, nil
}

// one sends one adopt command and waits for its success.
func (a *app) one(ctx context.Context, c *client.Client, node string, question handlers.AdoptBody, w waiting) (message.Answer, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return message.Answer{}, err
	}
	nodes, err := new(targets).find(ctx, a, c, []string{node})
	if err != nil {
		return message.Answer{}, err
	}
	outcomes, err := a.command(ctx, c, nodes, handlers.MethodAdopt, "nginx", body, w)
	if err != nil {
		return message.Answer{}, err
	}
	if o := outcomes[0]; o.State != message.Succeeded {
		return message.Answer{}, a.printOutcomes(ctx, c, outcomes)
	}
	return outcomes[0].Answer, nil
}

func (a *app) printAdopted(found handlers.Adopted) error {
	if a.output == "yaml" {
		text, err := manifest.Marshal(found.Resources)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(text)
		a.sayNotes(found)
		return err
	}
	if err := a.print(found, func(t *table) {
		for _, r := range found.Resources {
			t.row(r.ID(), gist(r))
		}
	}, func() (names []string) {
		for _, r := range found.Resources {
			names = append(names, r.ID())
		}
		return names
	}); err != nil {
		return err
	}
	a.sayNotes(found)
	return nil
}

// sayNotes tells what would not be the same.
func (a *app) sayNotes(found handlers.Adopted) {
	a.say("%s: %d of %s became virtual hosts", found.Path, found.Typed, count(found.Servers, "server"))
	for _, n := range found.Notes {
		a.say("  %s", n)
	}
	if found.Check != "" {
		a.say("%s the node's nginx refuses it as it is: %s", a.paint(red, "!"), found.Check)
	}
	if found.Why != "" {
		a.say("it cannot be taken over yet: %s", found.Why)
	}
}

func gist(r fleet.Resource) string {
	switch spec := r.Spec.(type) {
	case *fleet.VirtualHost:
		return strings.Join(spec.ServerNames, " ")
	case *fleet.Upstream:
		return count(len(spec.Servers), "server")
	case *fleet.ConfigFile:
		return fmt.Sprintf("raw, %d bytes", len(spec.Content))
	}
	return ""
}

// takeOver stores the resources and has them take the host's place.
func (a *app) takeOver(ctx context.Context, c *client.Client, node string, found handlers.Adopted, yes bool, w waiting) error {
	switch {
	case found.Check != "":
		a.sayNotes(found)
		return fleet.Errorf(fleet.Invalid, "nothing was changed: the node's nginx refuses what its configuration becomes")
	case found.Digest == "":
		a.sayNotes(found)
		return fleet.Errorf(fleet.Refused, "nothing was changed: %s", found.Why)
	case len(found.Resources) == 0:
		return fleet.Errorf(fleet.Invalid, "nothing was changed: %s serves nothing", found.Path)
	}
	text, err := manifest.Marshal(found.Resources)
	if err != nil {
		return err
	}
	set, err := manifest.Read(found.Path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	plan, err := c.Plan(ctx, set, false)
	if err != nil {
		return err
	}
	if !yes {
		if err := a.printAdopted(found); err != nil {
			return err
		}
		if agreed, err := a.ask(fmt.Sprintf("Take over nginx on %s with these %s?", node, count(len(found.Resources), "resource"))); err != nil || !agreed {
			a.say("nothing was changed")
			return err
		}
	}
	if _, err := a.one(ctx, c, node, handlers.AdoptBody{Permit: found.Digest}, w); err != nil {
		return err
	}
	return a.carryOut(ctx, c, plan, true, w.timeout)
}
