package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Renaming is how far a node is on its way to another name.
type Renaming struct {
	Node   string             `json:"node"`
	To     string             `json:"to"`
	Record station.NodeRecord `json:"record"` // of the host, under its old name where that is still registered
	// Entered says that the register has it under its new name, Left that it has it
	// no more under the old one.
	Entered bool `json:"entered"`
	Left    bool `json:"left"`
}

// Renaming finds out how far a node is on its way to another name, which may be
// nowhere. The error is Unknown where there is no such node, Conflict where the
// name is another's.
func (c *Client) Renaming(ctx context.Context, node, to string) (r Renaming, err error) {
	r = Renaming{Node: node, To: to}
	if err := fleet.CheckNode(to); err != nil {
		return r, err
	}
	if node == to {
		return r, fleet.Errorf(fleet.Invalid, "%s has that name", node)
	}
	next, err := c.Registered(ctx, to)
	if err != nil && fleet.KindOf(err) != fleet.Unknown {
		return r, err
	}
	r.Entered = err == nil && next.Renamed != nil && next.Renamed.From == node
	if err == nil && !r.Entered {
		return r, fleet.Errorf(fleet.Conflict, "there is a node %q already: choose another name", to)
	}
	r.Record, err = c.Registered(ctx, node)
	switch {
	case fleet.KindOf(err) == fleet.Unknown && r.Entered:
		r.Record, r.Left = next, true
	case fleet.KindOf(err) == fleet.Unknown:
		return r, fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", node)
	case err != nil:
		return r, err
	}
	return r, nil
}

// RenamePlan is what another name makes of a node's configuration.
type RenamePlan struct {
	Node string `json:"node"`
	To   string `json:"to"`
	// Lost are the resources that choose the node by its name, Gained those that
	// choose the new name, and Changed those that name it in what they say.
	Lost    []string `json:"lost,omitempty"`
	Gained  []string `json:"gained,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Before  string   `json:"before,omitempty"` // digest that the node should have now, "" for none
	Digest  string   `json:"digest"`           // that it must report under the new name
	Diff    string   `json:"diff"`             // of the rendered files, unified
	Fault   string   `json:"fault,omitempty"`  // why the node could not take that, where it can what it has
}

// PlanRename says what a node would be under another name.
func (c *Client) PlanRename(ctx context.Context, r Renaming) (p RenamePlan, err error) {
	p = RenamePlan{Node: r.Node, To: r.To}
	now, err := c.stored(ctx)
	if err != nil {
		return p, err
	}
	at := slices.IndexFunc(now.nodes, func(n station.NodeRecord) bool { return n.Name == r.Node })
	if at < 0 {
		return p, fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", r.Node)
	}
	was := now.nodes[at]
	is := was
	is.Name = r.To
	plans, err := station.Compile(now.list(), []station.NodeRecord{was, is})
	if err != nil {
		return p, err
	}
	if plans[1].Err != nil && plans[0].Err == nil {
		p.Fault = plans[1].Err.Error()
	}
	for _, made := range madeOf(plans[0].Resources, plans[1].Resources) {
		into := map[string]*[]string{Create: &p.Gained, Update: &p.Changed, Remove: &p.Lost}[made.Action]
		*into = append(*into, made.Resource)
	}
	have, err := c.whole(ctx, r.Node, now.desired[r.Node])
	if err != nil {
		return p, err
	}
	if have.Revision == 0 && len(plans[1].Resources) == 0 {
		return p, nil // nothing is desired of it, under either name
	}
	p.Before, p.Digest, p.Diff = have.Digest, plans[1].Bundle.Digest, bundleDiff(have, plans[1])
	return p, nil
}

// renameTime is how long a node may take to hear that it gets another name: who
// is not there any more should not come back as another when nobody looks.
const renameTime = 10 * time.Minute

// MayRename says why a node cannot be renamed now; nil where it can. n is what a
// station knows of it.
func MayRename(n station.NodeDetail) error {
	switch {
	case n.Presence == station.Duplicate:
		return fleet.Errorf(fleet.Refused, "two agents live under the name %s: stop one of them first (`fairlead why %[1]s`)", n.Name)
	case n.Presence != station.Online:
		return fleet.Errorf(fleet.Refused, "%s is %s, and only it can take another name: rename it when it is back, or by hand on the host (`--manual` says how)", n.Name, n.Presence)
	case n.Rollout != nil:
		return fleet.Errorf(fleet.Refused, "rollout %s has %s in it (%s): wait for its end, or take it back with `fairlead rollout abort %[1]s`", n.Rollout.ID, n.Name, n.Rollout.Progress)
	}
	return nil
}

// Rename gives a node another name, from wherever it is on its way, and returns what
// it is then and how many commands ended with the old name. said is told what is
// waited for. Where ctx ends the error is a Timeout, and the same again goes on.
func (c *Client) Rename(ctx context.Context, r Renaming, said func(what string)) (n station.NodeDetail, cancelled int, err error) {
	if !r.Left {
		if err := c.becomes(ctx, r, said); err != nil {
			return n, 0, err
		}
	}
	n, err = c.waitSettled(ctx, r.To, func(n station.NodeDetail) {
		said(fmt.Sprintf("%s is %s, its configuration %s", r.To, n.Presence, n.Sync))
	})
	if err != nil {
		return n, 0, err
	}
	cancelled, err = c.endRename(ctx, r)
	return n, cancelled, err
}

// becomes tells a node to go on under its other name, unless it does already, and
// waits until it is there or says why not.
func (c *Client) becomes(ctx context.Context, r Renaming, said func(what string)) error {
	is, err := c.Node(ctx, r.Node)
	if err != nil {
		return err
	}
	if r.Entered {
		if next, err := c.Node(ctx, r.To); err == nil && next.Presence != station.NeverWas || !is.There() {
			return nil // it is on its way
		}
	}
	if err := MayRename(is); err != nil {
		return err
	}
	body, err := json.Marshal(handlers.RenameBody{To: r.To})
	if err != nil {
		return err
	}
	w, err := c.Listen(ctx, r.Node)
	if err != nil {
		return err
	}
	defer w.Close()
	sent, err := c.Send(ctx, Command{Subject: subjects.Subject{Node: r.Node, Direction: subjects.Command, Method: handlers.MethodRename, Domain: message.LifecycleDomain},
		Body: body, Expires: renameTime})
	if err != nil {
		return err
	}
	said(r.Node + " is told")
	wctx, stop := context.WithCancel(ctx)
	answered := make(chan Outcome, 1)
	go func() { answered <- w.Wait(wctx, sent, nil)[0] }()
	tick := time.NewTicker(orderLook)
	defer tick.Stop()
	for {
		select {
		case o := <-answered:
			stop()
			return c.heard(ctx, r, o)
		case <-tick.C: // the agent that was told may have been killed before it answered, and be the other by now
			if next, err := c.Node(wctx, r.To); err == nil && next.There() {
				stop()
				<-answered
				return nil
			}
		}
	}
}

// heard is what a node's answer says. One that stays what it is leaves nothing behind.
func (c *Client) heard(ctx context.Context, r Renaming, o Outcome) error {
	switch {
	case o.State == message.Succeeded, o.Answer.Kind == fleet.Interrupted: // the latter by an earlier one that has its effect
		return nil
	case ctx.Err() != nil:
		return fleet.Errorf(fleet.Timeout, "%s has not answered: %w", r.Node, ctx.Err())
	case o.State == message.FailedEnd || o.State == message.Rejected:
		err := fleet.Errorf(o.Answer.Kind, "%s stays what it is: %s", r.Node, o.Answer.Message)
		return errors.Join(err, c.unrename(ctx, r))
	}
	return fleet.Errorf(o.Answer.Kind, "the command to %s ended %s: %s", r.Node, o.State, o.Answer.Message)
}

// unrename takes a node's new name out of the register again, where nobody was there
// under it.
func (c *Client) unrename(ctx context.Context, r Renaming) error {
	e, err := c.conn.Get(ctx, subjects.Nodes, r.To)
	if fleet.KindOf(err) == fleet.Unknown {
		return nil
	}
	var record station.NodeRecord
	if err != nil || json.Unmarshal(e.Body, &record) != nil || record.Renamed == nil || record.Renamed.From != r.Node {
		return err
	}
	if n, err := c.Node(ctx, r.To); err != nil || n.Presence != station.NeverWas {
		return err
	}
	return c.remove(ctx, subjects.Nodes, r.To, message.RegisterSubject(r.To), e.Sequence, r.Node+" stays what it is")
}

// endRename takes a node out of the register under its old name, once it is there
// under the new one, and ends what waits for it.
func (c *Client) endRename(ctx context.Context, r Renaming) (cancelled int, err error) {
	e, err := c.conn.Get(ctx, subjects.Nodes, r.Node)
	if err == nil {
		err = c.remove(ctx, subjects.Nodes, r.Node, message.RegisterSubject(r.Node), e.Sequence, "renamed to "+r.To)
	}
	if err != nil && fleet.KindOf(err) != fleet.Unknown { // it was taken out before
		return 0, err
	}
	return c.EndWaiting(ctx, r.Node)
}

// waitSettled waits until a node is there, has said what it is, and has done with its newest desired state
// what it can; looked is called after each look. The error is Timeout.
func (c *Client) waitSettled(ctx context.Context, name string, looked func(station.NodeDetail)) (n station.NodeDetail, err error) {
	tick := time.NewTicker(orderLook)
	defer tick.Stop()
	for {
		n, err = c.Node(ctx, name)
		switch {
		case ctx.Err() != nil:
			return n, fleet.Errorf(fleet.Timeout, "%s is %s and its configuration is %s", name, cmp.Or(n.Presence, "not there"), cmp.Or(n.Sync, "not known"))
		case err != nil && fleet.KindOf(err) != fleet.Unavailable && fleet.KindOf(err) != fleet.Timeout && fleet.KindOf(err) != fleet.Unknown:
			return n, err
		case err == nil && n.There() && n.Facts != nil && n.Sync != station.Pending && n.Sync != station.Unsaid:
			return n, nil
		case err == nil:
			looked(n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Manual are the steps by which a host gets another name without the agent's doing:
// it joins anew.
func (r Renaming) Manual() []string {
	token := "fairlead token create --node " + r.To
	for _, key := range sortedKeys(r.Record.Labels) {
		token += fmt.Sprintf(" --label %s=%s", key, r.Record.Labels[key])
	}
	if r.Record.Address != "" {
		token += " --address " + r.Record.Address
	}
	return []string{
		"fairlead cancel " + r.Node + "          what waits for it would find nobody",
		token,
		"then on the host, with the agent stopped: mv its state/identity aside, and the line that the token's creation prints",
		"fairlead nodes rm " + r.Node,
	}
}
