package client

import (
	"context"
	"encoding/json"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// editTries is how often an entry of the register is read again that somebody
// else, such as a node that renews its key, changed in between.
const editTries = 8

// Edit changes entries of the register, each by itself, and names those that are
// others now. change may be called again with a newer entry. The error is Unknown
// where a node is not there, or its entry is by nobody who may; the nodes before
// it are changed.
func (c *Client) Edit(ctx context.Context, names []string, change func(*station.NodeRecord) error) (changed []string, err error) {
	for _, name := range names {
		other, err := c.edit(ctx, name, change)
		if err != nil {
			return changed, err
		}
		if other {
			changed = append(changed, name)
		}
	}
	return changed, nil
}

func (c *Client) edit(ctx context.Context, name string, change func(*station.NodeRecord) error) (bool, error) {
	for try := 1; ; try++ {
		e, err := c.conn.Get(ctx, subjects.Nodes, name)
		switch {
		case fleet.KindOf(err) == fleet.Unknown:
			return false, fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", name)
		case err != nil:
			return false, err
		case c.keyIn(ctx, e) == "":
			return false, fleet.Errorf(fleet.Unknown, "the entry of %q in the register is by nobody who may write there", name)
		}
		var before, after station.NodeRecord
		if err := json.Unmarshal(e.Body, &before); err == nil {
			err = json.Unmarshal(e.Body, &after)
		}
		if err != nil {
			return false, err
		}
		if err := change(&after); err != nil {
			return false, fleet.Errorf(fleet.KindOf(err), "%s: %w", name, err)
		}
		if sameRecord(before, after) {
			return false, nil
		}
		var m message.Message
		if m, err = station.SignRecord(after, c.Me(), c.creds); err == nil {
			_, err = c.conn.Put(ctx, subjects.Nodes, bus.Change{Key: name, Document: m, Expect: e.Sequence})
		}
		if fleet.KindOf(err) != fleet.Conflict || err == nil || try == editTries {
			return err == nil, err
		}
	}
}
