package station

import (
	"path"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// TokenRecord is a token as people write it: what its holder may become. The
// secret half of its key is in nobody's hands but the holder's.
type TokenRecord struct {
	Key string `json:"key"` // public nkey, "U…"
	// Node is the name that a node may take, or a pattern such as "ship*"; ""
	// is any.
	Node   string            `json:"node,omitempty"`
	Labels map[string]string `json:"labels,omitempty"` // that the node gets
	// Own are the keys of labels that the node may give itself.
	Own     []string `json:"own,omitempty"`
	Address string   `json:"address,omitempty"` // see NodeRecord
	Uses    int      `json:"uses"`              // how many nodes may join
	// Approve has each node wait until a person approves it.
	Approve bool      `json:"approve,omitempty"`
	Expires time.Time `json:"expires"` // by the broker's clock
}

// ID names the token.
func (r TokenRecord) ID() string { return subjects.TokenID(r.Key) }

// MaxUses bounds the nodes that can join with one token.
const MaxUses = 100000

// Validate returns all faults.
func (r TokenRecord) Validate() error {
	var faults fleet.Faults
	if len(r.Key) != 56 || r.Key[0] != 'U' {
		faults.Addf("key", "%q is not a user's public key (U…)", r.Key)
	}
	if r.Node != "" {
		// Every name that can match is a name by itself.
		if err := fleet.CheckNode(strings.ReplaceAll(r.Node, "*", "x")); err != nil {
			faults.Addf("node", "%v", err)
		}
	}
	faults = append(faults, fleet.CheckLabels(r.Labels)...)
	own := make(map[string]string)
	for _, key := range r.Own {
		own[key] = ""
	}
	faults = append(faults, fleet.CheckLabels(own)...)
	if r.Uses < 1 || r.Uses > MaxUses {
		faults.Addf("uses", "%d: use 1 to %d", r.Uses, MaxUses)
	}
	if r.Expires.IsZero() {
		faults.Addf("expires", "is missing")
	}
	return faults.Err()
}

// allows says why a name is not one that the token is for; the error is Refused.
func (r TokenRecord) allows(name string) error {
	if match, err := path.Match(r.Node, name); r.Node == "" || err == nil && match {
		return nil
	}
	return fleet.Errorf(fleet.Refused, "the token is for %s and not for %s", r.Node, name)
}

// labels are those of a node that gives itself some; the error is Refused for
// one that it may not choose.
func (r TokenRecord) labels(chosen map[string]string) (map[string]string, error) {
	all := make(map[string]string)
	for key, value := range chosen {
		if !slices.Contains(r.Own, key) {
			return nil, fleet.Errorf(fleet.Refused, "the token does not let the node choose its label %q: make the token with --own-label %s, or leave the label out", key, key)
		}
		all[key] = value
	}
	for key, value := range r.Labels {
		if other, both := all[key]; both && other != value {
			return nil, fleet.Errorf(fleet.Refused, "the token gives label %s=%s, and the node wants %s", key, value, other)
		}
		all[key] = value
	}
	return all, fleet.CheckLabels(all).Err()
}

// SignToken makes the signed document of a token.
func SignToken(r TokenRecord, from string, signer message.Signer) (message.Message, error) {
	if err := r.Validate(); err != nil {
		return message.Message{}, err
	}
	return message.SignBody(message.TokenSubject(r.ID()), from, "", r, signer)
}

// TokenUse is one use of a token.
type TokenUse struct {
	Node string    `json:"node"`
	Key  string    `json:"key"`
	At   time.Time `json:"at"` // the broker's clock
}

// WaitingNode is a node that waits for its approval, or has it: the document
// of both, signed by a station and by a person.
type WaitingNode struct {
	Token  string            `json:"token"` // id
	Node   string            `json:"node"`
	Key    string            `json:"key"`
	Labels map[string]string `json:"labels,omitempty"`
	Facts  fleet.Facts       `json:"facts"`
	At     time.Time         `json:"at"`
}
