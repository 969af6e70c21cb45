package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

func newToken(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "token", Args: cobra.NoArgs,
		Short: "make, list and remove tokens to join with",
		Long: `A token lets a host become a node, ` + "`fairlead join`" + `, within what the token says: so many times, for a while, under these
names, with these labels. Who has it can do nothing else with it.`,
		Example: `  fairlead token create --node ship1
  fairlead token ls`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(tokenCreate(a), tokenList(a), tokenRemove(a))
	return c
}

func tokenCreate(a *app) *cobra.Command {
	var r station.TokenRecord
	var broker string
	life := days(time.Hour)
	c := &cobra.Command{
		Use: "create [--node NAME | --label k=v]", Short: "make a token, and print the line to run on the host", Args: cobra.NoArgs,
		Long: `Prints one line to run on the host that is to become a node. It holds a key that was made for this token alone, where the
broker is, and whom the host may believe; treat it as a password until it is used or its time is over.`,
		Example: `  fairlead token create --node ship1 --label role=edge
  fairlead token create --node 'ship-*' --uses 100 --ttl 7d --label role=edge --own-label region
  fairlead token create --approve --broker tls://broker.example.org:4222`,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			t, made, err := a.makeToken(ctx, c, r, time.Duration(life), broker)
			if err != nil {
				return err
			}
			line := "fairlead join " + t.String()
			a.say("token %s: for %s, until %s", station.ShortID(made.ID()), forWhom(made), made.Expires.Local().Format(time.DateTime))
			if loopbackURL(t.URL) {
				a.say("%s %s is this host alone: give --broker with the address by which other hosts reach the broker", a.paint(yellow, "note:"), t.URL)
			}
			if made.Approve {
				a.say("each node waits for `fairlead nodes approve NAME`")
			}
			value := map[string]any{"id": made.ID(), "token": t.String(), "command": line, "uses": made.Uses, "expires": made.Expires}
			return a.print(value, func(tb *table) { tb.row(line) }, func() []string { return []string{made.ID()} })
		}),
	}
	f := c.Flags()
	f.StringVar(&r.Node, "node", "", "the `NAME` that the node may take, or a pattern such as 'ship-*' (default any)")
	f.StringToStringVar(&r.Labels, "label", nil, "`NAME=VALUE` that the node gets; may be given several times")
	f.StringArrayVar(&r.Own, "own-label", nil, "`NAME` of a label that the node may give itself; may be given several times")
	f.StringVar(&r.Address, "address", "", "where the node's virtual hosts listen when they do not say (default every address)")
	f.IntVar(&r.Uses, "uses", 1, "how many nodes may join with it")
	f.Var(&life, "ttl", "how long it is good, up to 30d")
	f.BoolVar(&r.Approve, "approve", false, "have each node wait until somebody approves it")
	f.StringVar(&broker, "broker", "", "`URL` by which the node reaches the broker (default the one that you use)")
	return c
}

// makeToken makes a token for the broker that the user uses, unless another
// address is given.
func (a *app) makeToken(ctx context.Context, c *client.Client, r station.TokenRecord, life time.Duration, broker string) (identity.Token, station.TokenRecord, error) {
	address, secure, creds, err := a.settings()
	if err != nil {
		return identity.Token{}, r, err
	}
	or(&address, broker)
	t := identity.Token{URL: address, Account: creds.Account}
	if !strings.Contains(r.Node, "*") {
		t.Node = r.Node
	}
	if secure.CA != "" {
		text, err := os.ReadFile(secure.CA)
		if err == nil {
			t.CA, err = bus.Fingerprints(text)
		}
		if err != nil {
			return t, r, fleet.Errorf(fleet.Invalid, "the broker's authority, %s: %w", secure.CA, err)
		}
	}
	set, err := c.TrustSet(ctx)
	if err != nil {
		return t, r, err
	}
	t.Signers, t.Version = set.Signers, set.Version
	var seed []byte
	if r.Key, seed, err = identity.NewUserKey(); err != nil {
		return t, r, err
	}
	r, t.JWT, err = c.MakeToken(ctx, r, life)
	t.Seed = string(seed)
	return t, r, err
}

func forWhom(r station.TokenRecord) string {
	who := "one node"
	if r.Uses != 1 {
		who = fmt.Sprintf("%d nodes", r.Uses)
	}
	if r.Node != "" {
		who += " called " + r.Node
	}
	return who
}

// loopbackURL reports whether an address is of no use to other hosts.
func loopbackURL(address string) bool {
	u, err := url.Parse(strings.Split(address, ",")[0])
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func tokenList(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "list the tokens that are good, and who joined with them", Args: cobra.NoArgs,
		Example: `  fairlead token ls
  fairlead token ls --all -o wide`,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			tokens, err := c.Tokens(ctx)
			if err != nil {
				return err
			}
			shown := []client.Token{}
			for _, t := range tokens {
				if all || !t.Over && t.Used < t.Uses {
					shown = append(shown, t)
				}
			}
			if len(shown) == 0 && !a.streams() {
				a.say("no token is good now")
			}
			err = a.print(shown, func(tb *table) {
				if len(shown) > 0 {
					tb.row("TOKEN", "NAMES", "USED", "UNTIL", "BY", "LABELS").more("NODES")
				}
				for _, t := range shown {
					tb.row(station.ShortID(t.ID), firstWord(t.Node, "any"), fmt.Sprintf("%d of %d", t.Used, t.Uses),
						t.Expires.Local().Format(time.DateTime), t.By, labels(t.Labels)).more(client.NameNodes(t.Nodes))
				}
			}, func() []string {
				var ids []string
				for _, t := range shown {
					ids = append(ids, t.ID)
				}
				return ids
			})
			if err == nil && len(shown) == 0 {
				return exitError(message.ExitNothing)
			}
			return err
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "those whose time or uses are over, too")
	return c
}

func firstWord(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

func tokenRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm TOKEN", Short: "take a token away; who joined with it stays", Args: cobra.ExactArgs(1),
		Long:              "TOKEN is the id that `fairlead token ls` shows, or its beginning.",
		Example:           `  fairlead token rm 3f6c1a0b9d42`,
		ValidArgsFunction: a.completeTokens,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			id, err := c.RemoveToken(ctx, args[0])
			if err == nil {
				fmt.Fprintf(a.stdout, "removed %s\n", station.ShortID(id))
			}
			return err
		}),
	}
}

// completeTokens completes the first argument with the tokens that are good.
func (a *app) completeTokens(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.open(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	all, _ := c.Tokens(ctx) // none where they cannot be read
	var ids []string
	for _, t := range all {
		if !t.Over {
			ids = append(ids, station.ShortID(t.ID)+"\t"+forWhom(t.TokenRecord)+", by "+t.By)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
