package client

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// heldState is what a node should be, as one document of the bucket has it.
type heldState struct {
	nginx.Desired                // without Resources where those lie in parts
	cut           []byte         // the document then, nil where it is whole
	resources     int            // how many there are
	made          []ResourceMade // what it changed, by the station's word where it is cut
}

func decodeDesired(document []byte) (s heldState, err error) {
	list, err := message.PartsOf(document)
	var stored struct {
		nginx.Desired
		Made []ResourceMade `json:"made"`
	}
	if err == nil {
		err = json.Unmarshal(document, &stored)
	}
	s.Desired = stored.Desired
	switch {
	case err != nil:
		return heldState{}, err
	case list != nil:
		s.cut, s.resources, s.made = document, list.Resources, stored.Made
	default:
		s.resources = len(s.Resources)
	}
	return s, nil
}

// readDesired is what an entry says that a node should be, whoever wrote it.
func readDesired(e bus.Entry) (s heldState, err error) {
	node, _, _ := strings.Cut(e.Key, ".")
	body, err := e.Plain(message.DesiredSubject(node, handlers.MethodNginxConfig, "nginx"))
	if err == nil {
		s, err = decodeDesired(body)
	}
	if err != nil {
		return s, fleet.Errorf(fleet.Invalid, "desired state of %s: %w", node, err)
	}
	return s, nil
}

// whole has the resources too. Where parts of it went, because a newer one was written
// meanwhile, it is that one.
func (c *Client) whole(ctx context.Context, node string, s heldState) (nginx.Desired, error) {
	if s.cut == nil {
		return s.Desired, nil
	}
	d, err := c.assemble(ctx, node, s)
	if k := fleet.KindOf(err); k == fleet.Unknown || k == fleet.Invalid {
		return c.Desired(ctx, node)
	}
	return d, err
}

func (c *Client) assemble(ctx context.Context, node string, s heldState) (d nginx.Desired, err error) {
	if s.cut == nil {
		return s.Desired, nil
	}
	document, err := c.conn.Whole(ctx, subjects.StateKey(node, handlers.MethodNginxConfig, "nginx"), s.cut)
	if err == nil {
		if err = json.Unmarshal(document, &d); err != nil {
			err = fleet.Errorf(fleet.Invalid, "%w", err)
		}
	}
	return d, err
}

// errSpoiled says that parts of a desired state are gone, or something else.
var errSpoiled = errors.New("stations write it anew")

// desiredTries is how often a desired state is read whose parts go while it is.
const desiredTries = 3

// Desired is what a node should be; the error is Unknown where nothing ever
// selected it.
func (c *Client) Desired(ctx context.Context, node string) (d nginx.Desired, err error) {
	for range desiredTries {
		e, err := c.conn.Get(ctx, subjects.Desired, subjects.StateKey(node, handlers.MethodNginxConfig, "nginx"))
		if err != nil {
			return d, err
		}
		s, err := readDesired(e)
		if err == nil {
			d, err = c.assemble(ctx, node, s)
		}
		switch k := fleet.KindOf(err); {
		case k == fleet.Invalid && s.cut != nil:
			return d, fleet.Errorf(fleet.Invalid, "desired state of %s: %w; %w", node, err, errSpoiled)
		case k != fleet.Unknown:
			return d, err
		}
	}
	return d, fleet.Errorf(fleet.Unavailable, "desired state of %s: a part of it is not at the broker; %w", node, errSpoiled)
}
