package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/agent"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/join"
)

func newJoin(a *app) *cobra.Command {
	var o join.Options
	var state string
	var run bool
	c := &cobra.Command{
		Use:   "join TOKEN | -",
		Short: "make this host a node, with a token",
		Long: `Makes the node's keys here, asks a station to be let in, and keeps what the agent needs below the state directory; then
` + "`fairlead agent`" + ` needs no more than that directory. Only public keys leave the host. What a join that was cut off had
begun, the same line goes on with.

TOKEN is what ` + "`fairlead token create`" + ` printed; - reads it from standard input. What stands behind -- is for the agent,
with --run.`,
		Example: `  fairlead join FL1.eyJ1cmwi…
  fairlead join FL1.eyJ1cmwi… --name ship1 --label region=eu
  fairlead join - --run -- --nginx systemd < token`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			extra := args[1:]
			if dash := cmd.ArgsLenAtDash(); len(extra) > 0 && (dash != 1 || !run) {
				return usagef("give one token, without a space or line break in it; arguments of the agent stand behind --, with --run")
			}
			text := args[0]
			if text == "-" {
				line, err := bufio.NewReader(a.stdin).ReadString('\n')
				if err != nil && line == "" {
					return usagef("no token on standard input: %v", err)
				}
				text = strings.TrimPrefix(strings.TrimSpace(line), "fairlead join ")
			}
			var err error
			if o.Token, err = identity.ParseToken(text); err != nil {
				return err
			}
			if err := a.join(cmd.Context(), o, state); err != nil || !run {
				return err
			}
			agent := newAgent(a)
			agent.SetArgs(append([]string{"--state", state}, extra...))
			agent.SilenceErrors, agent.SilenceUsage = true, true
			return agent.ExecuteContext(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Name, "name", "", "the node's name (default the token's, else the host's without its domain)")
	f.StringToStringVar(&o.Labels, "label", nil, "`NAME=VALUE` that the node gives itself, where the token lets it; may be given several times")
	f.StringVar(&state, "state", usualState, "the agent's directory")
	f.BoolVar(&run, "run", false, "run the agent afterwards")
	return c
}

// usualState is where an agent keeps what it has.
const usualState = "/var/lib/fairlead/agent"

// identityOf is where the node's identity lies in an agent's directory.
func identityOf(state string) string { return filepath.Join(state, "identity") }

func (a *app) join(ctx context.Context, o join.Options, state string) error {
	or(&o.Name, firstWord(o.Name, o.Token.Node))
	if o.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return usagef("this host has no name: give the node's with --name")
		}
		o.Name, _, _ = strings.Cut(name, ".")
		if err := fleet.CheckNode(o.Name); err != nil {
			return fmt.Errorf("%w; give the node another name than the host's, with --name", err)
		}
	}
	// Workers of nginx, which are not root, pass through it.
	if err := os.MkdirAll(state, 0o755); err != nil {
		return fleet.Errorf(fleet.Invalid, "--state: %w: give a directory that this user may write", err)
	}
	var err error
	if o.Facts, err = agent.Facts(journalOf(state)); err != nil {
		return err
	}
	o.Dir, o.Logger, o.Cert, o.Key = identityOf(state), a.logger(slog.LevelError), a.tlsCert, a.tlsKey
	o.OnWaiting = func(key string) {
		a.clearProgress()
		a.say("%s waits for its approval: `fairlead nodes approve %s` shows the key\n  %s", o.Name, o.Name, key)
	}
	a.progress("joining as %s at %s", o.Name, o.Token.URL)
	j, err := join.Join(ctx, o)
	a.clearProgress()
	if err != nil {
		return err
	}
	a.say("the node's JWT is good until %s and renewed by itself", j.Until.Local().Format(time.DateTime))
	value := map[string]any{"name": j.Name, "key": j.Key, "labels": j.Labels, "until": j.Until.UTC(), "state": state}
	return a.print(value, func(t *table) {
		t.row(fmt.Sprintf("this host is node %s; run its agent: fairlead agent%s", j.Name, stateFlag(state)))
	}, func() []string { return []string{j.Name} })
}

func journalOf(state string) string { return filepath.Join(state, "journal") }

func stateFlag(state string) string {
	if state == usualState {
		return ""
	}
	return " --state " + state
}
