package station

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// rename answers a node that is to become one of another name, by the command of
// an administrator that it brings. It is asked again until the node has its JWTs.
func (s *Station) rename(ctx context.Context, name, asks string, q message.RenewRequest) (any, error) {
	r := renaming{station: s, name: name, asks: asks, request: q, to: q.Rename.To}
	err := r.run(ctx)
	if err != nil {
		s.log.Warn("a node was not renamed", "node", name, "to", clip(r.to), "key", asks, "error", err)
		return nil, err
	}
	if !r.entered {
		s.log.Info("a node was renamed", "node", name, "to", r.to, "key", q.Key, "by", r.by)
	}
	r.tell(ctx)
	return s.renewal(r.to, q.Key)
}

// tell puts it into the audit, once however often the node asks.
func (r *renaming) tell(ctx context.Context) {
	is := r.node.Renamed
	how := fmt.Sprintf("by %s, command %s", is.By, is.Command)
	for node, text := range map[string]string{r.name: "is " + r.to + " from now on: " + how, r.to: "was " + r.name + " until now: " + how + ", key " + r.node.Key} {
		seed := sha256.Sum256(fmt.Appendf(nil, "renamed %s %s %s", node, is.Command, r.node.Key))
		r.station.tellAs(ctx, message.DerivedID(is.At, seed[:]), node, message.LifecycleRenamed, text)
	}
}

// renaming is one request of a node that is to become another.
type renaming struct {
	station  *Station
	name, to string
	asks     string // key of the node that asks
	request  message.RenewRequest
	command  message.Message
	by       string     // who sent it
	node     NodeRecord // what it is to be
	at       uint64     // sequence of the new name in the register
	gone     removal    // of the node that had it before
	entered  bool       // the register has the node under its new name
}

func (r *renaming) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.asking, r.free, r.ordered, r.enter, r.desired} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// asking checks who asks, by the register as the broker has it now, and that it
// holds the key that it brings.
func (r *renaming) asking(ctx context.Context) error {
	s := r.station
	if err := s.mayBeNodes(r.asks, r.request.Key); err != nil {
		return err
	}
	if err := fleet.CheckNode(r.to); err != nil {
		return err
	}
	have, err := s.register.lookUp(ctx, r.name)
	switch {
	case err != nil:
		return err
	case have.record.Key == "":
		return fleet.Errorf(fleet.Refused, "%s is not in the register: it was removed", r.name)
	case have.record.Key != r.asks:
		return fleet.Errorf(fleet.Refused, "the register has another key for %s", r.name)
	case r.to == r.name || r.request.Key == r.asks:
		return fleet.Errorf(fleet.Refused, "another name goes with another key")
	}
	r.node = NodeRecord{Name: r.to, Key: r.request.Key, Labels: have.record.Labels, Address: have.record.Address, Drained: have.record.Drained}
	return message.CheckHeld(message.ToRename, r.name, r.to, r.request.Key, r.request.Proof)
}

// free checks that the new name is nobody's. Who asks again finds itself there.
func (r *renaming) free(ctx context.Context) error {
	s := r.station
	have, err := s.register.lookUp(ctx, r.to)
	if err != nil {
		return err
	}
	r.at, r.gone = have.sequence, have.removed
	is := have.record
	if r.entered = is.Key == r.request.Key && is.Renamed != nil && is.Renamed.From == r.name; r.entered {
		r.node, r.by = is, is.Renamed.By
		return nil
	}
	if is.Key != "" {
		return fleet.Errorf(fleet.Conflict, "there is a node %s already: choose another name, or have it removed first with `fairlead nodes rm %s`", r.to, r.to)
	}
	if other := s.register.holder(r.request.Key); other != "" && other != r.to {
		return fleet.Errorf(fleet.Conflict, "the new key is or was that of node %s", other)
	}
	return nil
}

// ordered checks that who may says that this node is to have this name, now. What
// came of it counts longer than the command.
func (r *renaming) ordered(context.Context) (err error) {
	if r.entered {
		return nil
	}
	s := r.station
	on := subjects.Subject{Node: r.name, Direction: subjects.Command, Method: handlers.MethodRename, Domain: message.LifecycleDomain}
	if r.command, err = r.request.Rename.Command.Message(on); err != nil {
		return err
	}
	owner, err := message.VerifyCommand(&r.command, r.name, s.trust.Find, s.clock.Now())
	if err != nil {
		return err
	}
	if handler, err := handlers.All().Find(handlers.MethodRename); err != nil || !handler.Allows(owner.Role) || len(owner.Nodes) > 0 {
		return fleet.Errorf(fleet.Refused, "%s (%s) may not give nodes other names: an administrator does who is not limited to some nodes", owner.Name, owner.Role)
	}
	var body handlers.RenameBody
	if json.Unmarshal(r.command.Body, &body) != nil || body.To != r.to {
		return fleet.Errorf(fleet.Refused, "the command is not about the name %s", r.to)
	}
	if made, _ := message.CreatedAt(r.command.ID); !r.gone.at.Before(made) && !r.gone.at.IsZero() {
		return fleet.Errorf(fleet.Refused, "%s was removed since %s wanted it: send the command again", r.to, owner.Name)
	}
	r.by = owner.Name
	return nil
}

// enter puts the node into the register under its new name; the old one stays until
// somebody takes it out.
func (r *renaming) enter(ctx context.Context) error {
	if !r.entered {
		r.node.Since = r.station.clock.Now().UTC().Truncate(time.Second)
		r.node.Renamed = &Renamed{From: r.name, By: r.by, At: r.node.Since, Command: r.command.ID}
	}
	a := attempt{station: r.station, node: r.node, at: r.at, gone: r.gone, spent: true, entered: r.entered}
	err := a.enter(ctx)
	r.at = a.at
	return err
}

// desired waits until the node's desired state under its new name is that of its
// labels. A host that had the name before may have left one, and this one's nginx must
// never be made that, not for a moment.
func (r *renaming) desired(ctx context.Context) error {
	if err := r.station.compiler.anew(ctx); err != nil {
		return err
	}
	why := r.station.compiler.stale(r.to)
	if why == "" {
		return nil
	}
	err := fleet.Errorf(fleet.Refused, "it could not take what it would be given under the name %s: %s", r.to, why)
	if r.entered { // before this request: it may be there under its new name by now
		return err
	}
	a := attempt{station: r.station, node: r.node, at: r.at}
	return errors.Join(err, a.leave(ctx))
}
