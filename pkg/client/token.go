package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// MakeToken writes a token that is good for a while, and returns the JWT that
// its holder connects with.
func (c *Client) MakeToken(ctx context.Context, r station.TokenRecord, life time.Duration) (made station.TokenRecord, jwt string, err error) {
	if life <= 0 || life > subjects.MaxTokenAge {
		return r, "", fleet.Errorf(fleet.Invalid, "a token is good for at most %d days", int(subjects.MaxTokenAge.Hours()/24))
	}
	state, err := c.conn.State(ctx, subjects.BucketStream(subjects.Tokens))
	if err != nil {
		return r, "", err
	}
	r.Expires = state.Now.Add(life).UTC().Truncate(time.Second)
	m, err := station.SignToken(r, c.Me(), c.creds)
	if err != nil {
		return r, "", err
	}
	if _, err := c.conn.Put(ctx, subjects.Tokens, bus.Change{Key: r.ID(), Document: m}); err != nil {
		return r, "", err
	}
	answer, err := ask[station.TokenAnswer](ctx, c, station.QueryToken, station.TokenQuestion{ID: r.ID()})
	if errors.Is(err, bus.ErrNobody) {
		err = fleet.Errorf(fleet.Unavailable, "no station answers that can issue nodes: one needs station.keys (`fairlead station --keys`)")
	}
	if err != nil { // nobody has it: it need not stay
		return r, "", errors.Join(err, c.remove(ctx, subjects.Tokens, r.ID(), message.TokenSubject(r.ID()), bus.Any, ""))
	}
	return r, answer.JWT, nil
}

// TrustSet is the newest that this user believes. The error is Invalid where the
// user has none to begin with: what a broker or a station says of whom to trust
// is not handed on.
func (c *Client) TrustSet(ctx context.Context) (message.TrustSet, error) {
	if c.trust == nil {
		return message.TrustSet{}, fleet.Errorf(fleet.Invalid, "your credentials have no trust set beside them: lay the tenant's trust.json there")
	}
	c.newestTrust(ctx)
	return c.trust.Current(), nil
}

// Token is a token and what became of it.
type Token struct {
	ID string `json:"id"`
	station.TokenRecord
	By    string    `json:"by"`
	Made  time.Time `json:"made"`
	Nodes []string  `json:"nodes,omitempty"` // that joined with it
	Used  int       `json:"used"`
	Over  bool      `json:"over,omitempty"` // its time is
}

// Tokens are all tokens that are kept, the newest first.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	state, err := c.conn.State(ctx, subjects.BucketStream(subjects.Tokens))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*Token)
	uses := make(map[string][]string)
	err = c.conn.Entries(ctx, subjects.Tokens, ">", func(e bus.Entry) error {
		switch id, what, _, _ := subjects.ParseTokenKey(e.Key); what {
		case "":
			m, err := e.Message(message.TokenSubject(id))
			t := &Token{ID: id, By: m.From, Made: e.At}
			if err == nil && json.Unmarshal(m.Body, &t.TokenRecord) == nil {
				t.Over = !state.Now.Before(t.Expires)
				byID[id] = t
			}
		case subjects.TokenUse:
			var u station.TokenUse
			if json.Unmarshal(e.Body, &u) == nil {
				uses[id] = append(uses[id], u.Node)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := []Token{}
	for id, t := range byID {
		t.Nodes, t.Used = uses[id], len(uses[id])
		slices.Sort(t.Nodes)
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Token) int { return b.Made.Compare(a.Made) })
	return all, nil
}

// RemoveToken takes a token away, by the beginning of its id, and returns the
// whole id. Who joined with it stays. The error is Unknown or Invalid where not
// exactly one begins so.
func (c *Client) RemoveToken(ctx context.Context, begins string) (id string, err error) {
	all, err := c.Tokens(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range all {
		if !strings.HasPrefix(t.ID, begins) || begins == "" {
			continue
		}
		if id != "" {
			return "", fleet.Errorf(fleet.Invalid, "the ids of several tokens begin with %s: give more of it", begins)
		}
		id = t.ID
	}
	if id == "" {
		return "", fleet.Errorf(fleet.Unknown, "there is no token %s: `fairlead token ls` lists those there are", begins)
	}
	return id, c.remove(ctx, subjects.Tokens, id, message.TokenSubject(id), bus.Any, "")
}

// remove takes a key out of a bucket by a signed document, which says why where note does.
func (c *Client) remove(ctx context.Context, bucket, key string, as subjects.Subject, expect uint64, note string) error {
	m := message.Message{Subject: as, ID: message.NewID(), Operation: bus.Delete, Note: note}
	if err := c.sign(&m); err != nil {
		return err
	}
	_, err := c.conn.Put(ctx, bucket, bus.Change{Key: key, Document: m, Expect: expect})
	return err
}

// Waiting are the nodes that wait for their approval, as a station wrote them
// down.
func (c *Client) Waiting(ctx context.Context) ([]station.WaitingNode, error) {
	all := []station.WaitingNode{}
	err := c.conn.Entries(ctx, subjects.Tokens, "*."+subjects.TokenWaiting+".*", func(e bus.Entry) error {
		w, err := station.ReadWaiting(e, c.trusted(ctx))
		if err != nil {
			c.log.Warn("ignored a node that waits", "key", e.Key, "error", err)
			return nil
		}
		all = append(all, w)
		return nil
	})
	slices.SortFunc(all, func(a, b station.WaitingNode) int { return strings.Compare(a.Node, b.Node) })
	return all, err
}

// trusted is whom this client believes.
func (c *Client) trusted(ctx context.Context) message.Trust {
	return func(key string) (message.Trusted, bool) {
		owner := c.owner(ctx, key)
		return message.Trusted{Name: owner.Name, Role: owner.Role, Ended: owner.Ended}, owner.Name != "" && owner.Ended.IsZero()
	}
}

// Approve lets a node in that waits, as it was shown.
func (c *Client) Approve(ctx context.Context, w station.WaitingNode) error {
	m, err := station.SignApproval(w, c.Me(), c.creds)
	if err != nil {
		return err
	}
	_, err = c.conn.Put(ctx, subjects.Tokens, bus.Change{Key: subjects.TokenApprovedKey(w.Token, w.Node), Document: m, Expect: bus.Any})
	return err
}

// EndWaiting ends all commands that wait for a node that was removed, so that
// who takes its name does not get them, and returns how many. The error is
// Conflict where the node was not removed, and Unavailable without a station.
func (c *Client) EndWaiting(ctx context.Context, name string) (int, error) {
	a, err := ask[station.RemovedAnswer](ctx, c, station.QueryRemoved, station.RemovedQuestion{Name: name})
	return a.Cancelled, err
}

// RemoveNode takes a node out of the register: stations believe nothing that it
// says from then on, and do not renew its JWT, which ends at its time. The error
// is Unknown where there is none of that name.
func (c *Client) RemoveNode(ctx context.Context, name string) (record station.NodeRecord, err error) {
	e, err := c.conn.Get(ctx, subjects.Nodes, name)
	if fleet.KindOf(err) == fleet.Unknown {
		return record, fleet.Errorf(fleet.Unknown, "no node %q: `fairlead nodes` lists those there are", name)
	}
	if err != nil {
		return record, err
	}
	_ = json.Unmarshal(e.Body, &record) // an entry that cannot be read goes as well
	return record, c.remove(ctx, subjects.Nodes, name, message.RegisterSubject(name), e.Sequence, "")
}
