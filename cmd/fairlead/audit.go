package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/subjects"
)

func newAudit(a *app) *cobra.Command {
	var o client.AuditOptions
	var replay bool
	var to string
	since := lately(24 * time.Hour)
	w := waiting{timeout: days(time.Minute)}
	c := &cobra.Command{
		Use:   "audit [--node N] [--by NAME] [--since 24h] [--id ID | --order ID] [-f] [--replay [--to-node X]]",
		Short: "what was done, to whom, by whose order, and how it ended",
		Long: `Prints the audit from JetStream in the order in which it was stored, one line per message: every command, and every answer to it,
with the person or program whose key signed it and the role of that key (-o wide: the key too). What people order of
rollouts (begin, pause, resume, abort, promote, approve) is among it, under the node "fleet"; --id takes a rollout's id too.
--replay prints the whole history from its beginning. --replay --to-node X publishes the selected commands again, to node X,
with new ids that name the old ones; an operator's signature is needed for that, and nginxconfig commands are left out,
since every node converges to its own desired state.`,
		Example: `  fairlead audit
  fairlead audit --node node1 --since 7d
  fairlead audit --by alice --since 7d
  fairlead audit --id 01KAM3S2Y1C6Q8Z5V7W9X0ABCD
  fairlead audit --order 01KAM3S2Y1C6Q8Z5V7W9X0ABCD
  fairlead audit --replay --json
  fairlead audit check
  fairlead audit --replay --node node1 --to-node node2`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.with(func(ctx context.Context, cl *client.Client, _ []string) error {
		if to != "" && !replay {
			return usagef("--to-node goes with --replay")
		}
		if to != "" && o.Follow {
			return usagef("-f follows, and --to-node publishes again: give one of them")
		}
		if a.output == "name" {
			return usagef("-o name: messages have no names; use table, json or yaml")
		}
		if !replay || c.Flags().Changed("since") {
			o.Since = since.Time
		}
		if to != "" {
			return a.replayTo(ctx, cl, o, to, w)
		}
		if !replay && (o.ID != "" || o.Order != "") && !c.Flags().Changed("since") {
			o.Since = time.Time{}
		}
		found := 0
		err := cl.Audit(ctx, o, func(r client.Record) error {
			found++
			return a.printRecord(r)
		})
		if ctx.Err() != nil && o.Follow {
			return nil
		}
		if err == nil && found == 0 {
			if o.Since.IsZero() {
				a.say("nothing matches in the whole audit")
			} else {
				a.say("nothing matches %s: --since 7d looks further back, --replay at the whole audit", since.since())
			}
			return exitError(message.ExitNothing)
		}
		return err
	})
	f := c.Flags()
	f.StringVar(&o.Node, "node", "", "only what concerns one node")
	f.StringVar(&o.By, "by", "", "only what somebody sent or changed, by name or public key, and the answers to it")
	f.StringVar(&o.ID, "id", "", "only one command and its answers, or one rollout")
	f.StringVar(&o.Order, "order", "", "only the commands of one order and the answers to them")
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with what comes, until interrupted")
	since.flag(f, "how far to look back")
	f.BoolVar(&replay, "replay", false, "the whole history from its beginning")
	f.StringVar(&to, "to-node", "", "publish the selected commands again, to this node")
	f.Var(&w.timeout, "timeout", "with --to-node: how long to wait for the answers")
	if err := c.RegisterFlagCompletionFunc("node", a.completeNodes); err != nil {
		panic(err) // the flag was made above
	}
	c.AddCommand(newAuditVerify(a), newAuditCheck(a))
	return c
}

// auditLine is one message of the audit for machines.
type auditLine struct {
	Sequence uint64          `json:"sequence"`
	At       time.Time       `json:"at"`
	Subject  string          `json:"subject"`
	ID       string          `json:"id"`
	From     string          `json:"from,omitempty"`
	Key      string          `json:"key,omitempty"`
	By       string          `json:"by,omitempty"` // whose key it is, by the trust set or the register
	Role     subjects.Role   `json:"role,omitempty"`
	For      string          `json:"for,omitempty"` // who changed the resources that a station tells a node of
	Proven   bool            `json:"proven"`        // by is from, and may send it
	Command  string          `json:"command,omitempty"`
	State    message.State   `json:"state,omitempty"`
	Expires  *time.Time      `json:"expires,omitempty"`
	Replays  string          `json:"replays,omitempty"`
	Message  string          `json:"message,omitempty"` // why, in the words of who changed something
	Body     json.RawMessage `json:"body,omitempty"`
	Text     string          `json:"text,omitempty"` // a body that is not JSON
}

func (a *app) printRecord(r client.Record) error {
	m := r.Message
	if a.streams() {
		line := auditLine{Sequence: r.Sequence, At: r.StoredAt, Subject: m.Subject.String(), ID: m.ID, From: m.From, Key: m.Key,
			By: r.By, Role: r.Role, For: r.For, Proven: r.Proven, Command: m.Command, State: m.State, Replays: m.Replays, Message: m.Note}
		if !m.Expires.IsZero() {
			line.Expires = &m.Expires
		}
		switch {
		case m.Body == nil && r.Fault != nil:
			line.Text = r.Fault.Error()
		case json.Valid(m.Body):
			line.Body = m.Body
		default:
			line.Text = strings.ToValidUTF8(string(m.Body), "�")
		}
		return a.printNext(line)
	}
	who := author(r)
	if a.output == "wide" && m.Key != "" {
		who += " " + m.Key
	}
	what, state, id, text := describe(m)
	if m.Body == nil && r.Fault != nil {
		text = r.Fault.Error()
	}
	if m.Note != "" {
		text = strings.TrimSpace(quoted(m.Note) + " " + text)
	}
	if m.Replays != "" {
		text = strings.TrimSpace("again what was " + m.Replays + " " + text)
	}
	line := fmt.Sprintf("%s  %-8s  %-28s  %s  by %-29s  %s  %s", a.paint(dim, r.StoredAt.Local().Format("2006-01-02 15:04:05.000")),
		m.Subject.Node, what, a.paint(stateColours[state], fmt.Sprintf("%-19s", state)), oneLine(who), id, oneLine(text))
	_, err := fmt.Fprintln(a.stdout, strings.TrimRight(line, " "))
	return err
}

// author is who signed a message, for people.
func author(r client.Record) string {
	m := r.Message
	switch {
	case m.Signature == "":
		return "(unsigned)"
	case r.Proven && r.For != "" && r.For != m.From:
		return fmt.Sprintf("%s (%s) for %s", m.From, r.Role, r.For)
	case r.Proven:
		return fmt.Sprintf("%s (%s)", m.From, r.Role)
	case r.By != "" && r.By != m.From:
		return fmt.Sprintf("%s (not proven: the key of %s, %s)", m.From, r.By, r.Role)
	}
	return m.From + " (not proven)"
}

// describe puts a message into words.
func describe(m message.Message) (what, state, id, text string) {
	id = m.ID
	switch {
	case m.Subject.Direction == subjects.Rollout:
		return ordered(m)
	case m.Subject.Direction == subjects.Command:
		return m.Subject.Method + "." + m.Subject.Domain, string(message.Published), id, clip(string(m.Body))
	case m.Subject.Method == subjects.MethodAck:
		answer, err := m.ReadAnswer()
		if err != nil {
			return m.Subject.Domain, string(m.State), m.Command, err.Error()
		}
		state = string(m.State)
		if answer.AcceptedAt != nil {
			state = string(message.Accepted) + ", " + state
		}
		if m.State == message.Late {
			state = "late: " + string(answer.Ended)
		}
		return m.Subject.Domain, state, m.Command, clip(answer.Message)
	case m.Subject.Method == subjects.MethodLifecycle:
		var l message.Lifecycle
		if json.Unmarshal(m.Body, &l) == nil {
			return m.Subject.Domain, l.Event, id, strings.TrimSpace(l.Version + " " + l.Message)
		}
	}
	return m.Subject.Method + "." + m.Subject.Domain, "", id, clip(string(m.Body))
}

// ordered is describe for what a person ordered of a rollout.
func ordered(m message.Message) (what, state, id, text string) {
	what, id = string(m.Subject.Direction), m.Subject.Domain
	if m.Subject.Method == subjects.RolloutOrder {
		o, err := rollout.DecodeOrder(m.Body)
		switch {
		case err != nil:
			return what, m.Subject.Method, id, err.Error()
		case o.All:
			text = "all waves"
		case o.Wave > 0:
			text = fmt.Sprintf("wave %d", o.Wave)
		}
		if o.Why != "" {
			text = strings.TrimSpace(text + " " + quoted(o.Why))
		}
		return what, o.Do, id, text
	}
	p, err := rollout.DecodePlan(m.Body)
	if err != nil {
		return what, m.Subject.Method, id, err.Error()
	}
	var changes []string
	for _, c := range p.Changes {
		changes = append(changes, c.Resource())
	}
	text = fmt.Sprintf("%s in %s: %s", count(len(p.Nodes), "node"), count(len(p.Steps), "wave"), clip(strings.Join(changes, ", ")))
	if p.Undoes != "" {
		text = "undoes " + p.Undoes + ", " + text
	}
	if p.Message != "" {
		text = quoted(p.Message) + " " + text
	}
	return what, "begin", id, text
}

func clip(s string) string {
	const most = 160
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// replayTo publishes the selected commands again, to one node.
func (a *app) replayTo(ctx context.Context, c *client.Client, o client.AuditOptions, to string, w waiting) error {
	o.Follow = false
	if _, err := c.Node(ctx, to); err != nil {
		return err
	}
	type told struct {
		command client.Command
		key     string
	}
	var all []told
	ran := make(map[string]bool) // by id and domain: its node says that it ran
	left := 0
	err := c.Audit(ctx, o, func(r client.Record) error {
		m := r.Message
		if m.State == message.Succeeded || m.State == message.FailedEnd {
			ran[m.Command+"."+m.AnsweredDomain()] = r.Proven && m.From == m.Subject.Node
		}
		if m.Subject.Direction != subjects.Command {
			return nil
		}
		// What says another node's revision is not repeated, nor a cancellation,
		// whose command is another now.
		if !r.Proven || r.Fault != nil || m.Subject.Method == "nginxconfig" || m.Subject.Method == subjects.MethodCancel {
			left++
			return nil
		}
		s, err := subjects.Build(to, subjects.Command, m.Subject.Method, m.Subject.Domain)
		if err != nil {
			return err
		}
		all = append(all, told{client.Command{Subject: s, Body: m.Body, Replays: m.ID}, m.ID + "." + m.Subject.Domain})
		return nil
	})
	if err != nil {
		return err
	}
	var commands []client.Command
	for _, t := range all {
		if ran[t.key] { // what a node refused is not sent again in another's name
			commands = append(commands, t.command)
		} else {
			left++
		}
	}
	if left > 0 {
		a.say("left out: %s not proven, not run by its node, or nginxconfig or cancel", count(left, "command"))
	}
	if len(commands) == 0 {
		return fleet.Errorf(fleet.Unknown, "no command to publish again matches")
	}
	outcomes, err := a.sendAndWait(ctx, c, commands, w.timeout)
	if err != nil {
		return err
	}
	return a.printOutcomes(ctx, c, outcomes)
}
