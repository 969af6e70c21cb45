package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func newPublish(a *app) *cobra.Command {
	var t targets
	var w waiting
	var data, file string
	c := &cobra.Command{
		Use:   "publish SUBJECT [--data JSON|@FILE|-] | -f FILE",
		Short: "send any command",
		Long: `Signs and stores commands; with --wait it also waits for their ends.

A SUBJECT is <node>.command.<method>.<domain>; with * as the node it goes to those that -l and the like choose. A FILE holds one message per YAML document:
  subject: node1.command.shellcommand.operatingsystem
  data: {argv: [uname, -a]}
  expires: 1h`,
		Example: `  fairlead publish node1.command.reload.nginx --wait
  fairlead publish node1.command.shellcommand.operatingsystem --data '{"argv":["uname","-a"]}' --wait
  fairlead publish '*.command.reload.nginx' -l role=edge --expires 1h
  fairlead publish -f examples/messages/first-look.yaml --wait`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeSubjects,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if to := t.describe(); len(args) == 1 && (strings.HasPrefix(args[0], "*.") || to != "") {
			return a.publishToMany(cmd, args[0], data, &t, w)
		} else if to != "" {
			return usagef("%s goes with a SUBJECT whose node is *; the messages of a file name their own", to)
		}
		commands, err := a.toPublish(args, file, data, time.Duration(w.expires.days))
		if err != nil {
			return err
		}
		return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			a.warnOfStrangers(ctx, c, commands)
			if w.wait {
				outcomes, err := a.sendAndWait(ctx, c, commands, w.timeout)
				if err != nil {
					return err
				}
				return a.printOutcomes(ctx, c, outcomes)
			}
			sent, err := c.Send(ctx, commands...)
			if perr := a.printSent(sent); perr != nil {
				return perr
			}
			return err
		})(cmd, args)
	}
	t.flags(a, c)
	w.flags(a, c)
	c.Flags().StringVar(&data, "data", "", "the body: JSON, @FILE, or - for standard input")
	c.Flags().StringVarP(&file, "file", "f", "", "file with one message per YAML document, - for standard input")
	w.waitFlag(c, false)
	return c
}

// publishToMany sends one command to all nodes that are chosen.
func (a *app) publishToMany(cmd *cobra.Command, subject, data string, t *targets, w waiting) error {
	rest, any := strings.CutPrefix(subject, "*.")
	if !any {
		return usagef("write * in the place of the node: '*.%s'", strings.Join(strings.Split(subject, ".")[1:], "."))
	}
	s, err := commandSubject("any." + rest)
	if err != nil {
		return err
	}
	body, err := a.readBody(data)
	if err != nil {
		return err
	}
	return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
		to, err := t.find(ctx, a, c, nil)
		if err != nil {
			return err
		}
		a.warnOfMethod(s.Method)
		return a.sendTo(ctx, c, to, s.Method, s.Domain, body, w)
	})(cmd, nil)
}

// toPublish reads what to send.
func (a *app) toPublish(args []string, file, data string, expires time.Duration) ([]client.Command, error) {
	switch {
	case len(args) == 1 && file != "":
		return nil, usagef("give SUBJECT or -f FILE, not both")
	case file != "" && data != "":
		return nil, usagef("--data goes with SUBJECT; the messages of a file hold their own")
	case file != "":
		return a.readMessages(file, expires)
	case len(args) == 0:
		return nil, usagef("give a SUBJECT such as node1.command.reload.nginx, or -f FILE")
	}
	s, err := commandSubject(args[0])
	if err != nil {
		return nil, err
	}
	body, err := a.readBody(data)
	return []client.Command{{Subject: s, Body: body, Expires: expires}}, err
}

// warnOfStrangers says which nodes are in no register, and which methods are not known
// here: a command may wait for a node that is to come, and a node may know more, but a slip of
// the pen is likelier.
func (a *app) warnOfStrangers(ctx context.Context, c *client.Client, commands []client.Command) {
	for _, command := range commands {
		a.warnOfMethod(command.Subject.Method)
	}
	var names []string
	for _, command := range commands {
		if !slices.Contains(names, command.Subject.Node) {
			names = append(names, command.Subject.Node)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	known, _, err := c.Nodes(ctx, station.NodesQuestion{Names: names})
	if err != nil {
		return // commands are stored without a station too
	}
	for _, name := range names {
		if !slices.ContainsFunc(known, func(n station.NodeStatus) bool { return n.Name == name }) {
			a.say("%s no node %q in the register (`fairlead nodes`): the command waits for it until it expires", a.paint(yellow, "warning:"), name)
		}
	}
}

func (a *app) warnOfMethod(method string) {
	known := handlers.All()
	if _, err := known.Find(method); err == nil {
		return
	}
	meant := ""
	if near := fleet.Nearest(method, known.Methods()); near != "" {
		meant = ": did you mean " + near + "?"
	}
	a.say("%s no method %q is known here%s A node that has none rejects it", a.paint(yellow, "warning:"), method, cmp.Or(meant, "."))
}

func (a *app) printSent(sent []client.Sent) error {
	if sent == nil {
		sent = []client.Sent{}
	}
	err := a.print(sent, func(t *table) {
		for _, s := range sent {
			t.row(s.ID, s.Subject, "stored")
		}
	}, func() []string {
		var ids []string
		for _, s := range sent {
			ids = append(ids, s.ID)
		}
		return ids
	})
	switch {
	case err != nil || a.streams() || a.output == "name":
	case len(sent) > 0 && sent[0].Order != "":
		a.say("`fairlead order status %s -w` waits for their ends", sent[0].Order)
	case len(sent) == 1:
		a.say("`fairlead audit --id %s` shows how it ends", sent[0].ID)
	}
	return err
}

func commandSubject(text string) (subjects.Subject, error) {
	s, err := subjects.Parse(text)
	if err != nil && strings.Count(text, ".") == 3 {
		return s, fleet.Errorf(fleet.Invalid, "subject %q: %w; a command is <node>.command.<method>.<domain>", text, err)
	}
	if err != nil {
		return s, err
	}
	if s.Direction != subjects.Command {
		return s, fleet.Errorf(fleet.Invalid, "subject %q is an event: only nodes send those; a command is <node>.command.<method>.<domain>", text)
	}
	// Of a method that is not known here a node may know more.
	if h, err := handlers.All().Find(s.Method); err == nil {
		if err := h.Takes(s.Domain); err != nil {
			return s, fleet.Errorf(fleet.Invalid, "subject %q: %w", text, err)
		}
	}
	return s, nil
}

// completeSubjects completes node, method and domain.
func (a *app) completeSubjects(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	node, rest, _ := strings.Cut(typed, ".")
	if rest == "" && !strings.Contains(typed, ".") {
		names, _ := a.completeNodes(cmd, args, typed)
		for i, n := range names {
			name, note, _ := strings.Cut(n, "\t")
			names[i] = name + ".command.\t" + note
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	var found []string
	for _, h := range handlers.All().Handlers() {
		found = append(found, node+".command."+h.Method+"."+h.Domain+"\t"+h.Summary)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// readBody reads --data; what it gets must be JSON.
func (a *app) readBody(data string) ([]byte, error) {
	var body []byte
	var err error
	switch path, isFile := strings.CutPrefix(data, "@"); {
	case data == "-":
		body, err = io.ReadAll(io.LimitReader(a.stdin, bodyRead))
	case isFile:
		body, err = os.ReadFile(path)
	default:
		body = []byte(data)
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--data: %w", err)
	}
	if len(strings.TrimSpace(string(body))) > 0 && !json.Valid(body) {
		return nil, fleet.Errorf(fleet.Invalid, "--data is not JSON: write for example '{\"argv\":[\"uname\"]}', @FILE, or - for standard input")
	}
	return body, nil
}

// bodyRead is more than any body may have, so that an oversize one is told.
const bodyRead = 4 << 20
