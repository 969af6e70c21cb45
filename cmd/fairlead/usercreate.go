package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func userCreate(a *app) *cobra.Command {
	var o authorityFlags
	var role, nodes, out, contextName string
	var methods []string
	ttl := days(0)
	c := &cobra.Command{
		Use: "create NAME --role ROLE", Short: "make a user: a creds file and a NATS context", Args: cobra.ExactArgs(1),
		Long: `Roles: admin (everything of the tenant), operator (resources and commands), viewer (looks), station and node (programs;
nodes better join by a token). --nodes and --methods limit an operator or a viewer in the commands that they send: the
broker takes no other, and no node believes another. --nodes takes names, or a selector, which is resolved now. Who is
limited to nodes writes no resources, since those choose nodes themselves.

With --out DIR all that the user needs is written there (its creds file, trust.json, ca.pem; station.keys for a station)
and the identity directory keeps the JWT alone: nobody but the owner has the private key then.`,
		Example: `  fairlead user create alice --role operator
  fairlead user create olga --role operator --tenant shop --nodes ship1,ship2 --methods reload,healthreport
  fairlead user create guest --role viewer --ttl 8h --out guest
  fairlead user create station2 --role station --out station2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if role == string(subjects.Leaf) {
				return usagef("a leafnode needs more than a user: fairlead broker leaf %s", args[0])
			}
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			n := identity.New{Name: args[0], Role: subjects.Role(role), Life: time.Duration(ttl), Limits: subjects.Limits{Methods: methods}}
			if n.Nodes, err = a.nodesOf(cmd.Context(), nodes); err != nil {
				return err
			}
			if out == "" && identity.Encrypted(au.Dir()) {
				out = args[0]
			}
			if out != "" {
				n.Out = filepath.Join(out, n.Name+".creds")
			}
			if !n.None() {
				a.progress("issuing the account with the limits of %s", n.Name)
			}
			u, err := au.Create(n)
			if err != nil {
				return err
			}
			if err := a.handOut(au, u, out); err != nil {
				return err
			}
			made, err := a.userContext(au, u, out, contextName)
			if err != nil {
				a.say("the NATS context was not written: %v", err)
			}
			if err := a.tellUser(u, made); err != nil {
				return err
			}
			if !o.offline {
				a.tellUnknown(cmd.Context(), n.Nodes)
			}
			told := news{trust: slices.Contains(subjects.Senders(), u.Role)}
			if !n.None() {
				if told.accounts, err = accountOf(au); err != nil {
					return err
				}
			}
			return a.change(cmd.Context(), o, au, told)
		},
	}
	o.flags(c.Flags())
	o.pushFlag(c.Flags())
	f := c.Flags()
	f.StringVar(&role, "role", "", "admin, operator, viewer, station or node")
	f.StringVar(&nodes, "nodes", "", "`NODE,…` or a selector such as role=edge: the only nodes that it may send commands to")
	f.StringSliceVar(&methods, "methods", nil, "the only methods that it may send, such as reload,healthreport")
	f.Var(&ttl, "ttl", "how long its JWT holds before it has to be renewed (default 365d; nodes 90d)")
	f.StringVar(&out, "out", "", "`DIR` to write what the user needs to, keeping no private key here (default for an encrypted directory: ./NAME)")
	f.StringVar(&contextName, "context-name", "", "name of the NATS context (default TENANT-NAME; - for none)")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"admin", "operator", "viewer", "station", "node"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("methods", cobra.FixedCompletions(handlers.All().Sent()[subjects.Operator], cobra.ShellCompDirectiveNoFileComp))
	if err := c.MarkFlagRequired("role"); err != nil {
		panic(err) // the flag was made above
	}
	return c
}

// nodesOf are the nodes that a text names: by name, or by a selector.
func (a *app) nodesOf(ctx context.Context, text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if !strings.ContainsAny(text, "=!<>( ") {
		return strings.Split(text, ","), nil
	}
	if _, err := fleet.ParseSelector(text); err != nil {
		return nil, err
	}
	a.progress("asking which nodes match %s", text)
	c, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	found, _, err := c.Nodes(ctx, station.NodesQuestion{Selector: text})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		a.say("no node matches %s", text)
		return nil, exitError(message.ExitNothing)
	}
	var names []string
	for _, n := range found {
		names = append(names, n.Name)
	}
	return names, nil
}

// tellUnknown says which nodes there are none of, as far as a station can be
// asked: a name may be one that is yet to come, or a mistake.
func (a *app) tellUnknown(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := a.open(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	found, _, err := c.Nodes(ctx, station.NodesQuestion{Show: station.ShowNames})
	if err != nil {
		return
	}
	unknown := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(found, func(n station.NodeStatus) bool { return n.Name == name })
	})
	if len(unknown) > 0 {
		a.say("%s there is no node called %s yet: `fairlead nodes` lists those there are", a.paint(yellow, "note:"), strings.Join(unknown, ", "))
	}
}

// handOut writes beside a user's creds file what else it needs on its host.
func (a *app) handOut(au *identity.Authority, u identity.User, out string) error {
	if out == "" {
		return nil
	}
	for from, name := range map[string]string{au.TrustFile(): "trust.json", filepath.Join(au.Dir(), "ca", "ca.pem"): "ca.pem"} {
		data, err := os.ReadFile(from)
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = identity.WriteSecret(filepath.Join(out, name), data)
		}
		if err != nil {
			return fmt.Errorf("hand out %s: %w", name, err)
		}
	}
	if u.Role == subjects.Station {
		return au.ExportStationKeys(filepath.Join(out, "station.keys"))
	}
	return nil
}

// userContext writes the user's NATS context; programs need none.
func (a *app) userContext(au *identity.Authority, u identity.User, out, name string) (string, error) {
	if name == "-" || u.Role == subjects.Node || u.Role == subjects.Station {
		return "", nil
	}
	if name == "" {
		name = au.Tenant() + "-" + u.Name
	}
	if other, err := contextOfAnother(name, au.TenantAccount()); err != nil || other != "" {
		return "", firstOf(err, fleet.Errorf(fleet.Conflict, "context %s is there and of another fleet or tenant (%s): remove it, or add one with `fairlead context add`", name, other))
	}
	url, secure, err := a.brokerURL(au.Dir())
	if err != nil {
		return "", err
	}
	creds, err := filepath.Abs(u.CredsFile)
	if err != nil {
		return "", err
	}
	if secure.CA != "" {
		if secure.CA, err = filepath.Abs(secure.CA); err != nil {
			return "", err
		}
	}
	return name, saveContext(name, fmt.Sprintf("%s, %s of %s", u.Name, u.Role, au.Tenant()), url, secure, creds, u.Name)
}

func (a *app) tellUser(u identity.User, made string) error {
	whole := struct {
		identity.User
		Context string `json:"context,omitempty"`
	}{u, made}
	return a.print(whole, func(t *table) {
		t.row("user", u.Name)
		t.row("role", string(u.Role))
		if limits := limitsText(u); limits != "-" {
			t.row("limited to", limits)
		}
		t.row("key", u.Key)
		t.row("expires", expiresText(u.Expires, time.Now()))
		t.row("credentials", u.CredsFile)
		if made != "" {
			t.row("context", made)
		}
	}, func() []string { return []string{u.Name} })
}

// contextOfAnother is the credentials file of a context that connects to another
// account, "" where there is no such context or nothing can be read from it.
func contextOfAnother(name, account string) (string, error) {
	c, err := bus.LoadContext(name)
	if fleet.KindOf(err) == fleet.Unknown {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	creds, err := identity.LoadCreds(c.Creds)
	if creds == nil || creds.Account == account {
		return "", nil
	}
	return c.Creds, nil
}
