package identity

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// successor is the node of another name that a node is to become. It lies beside
// the node's own identity until it takes its place.
type successor struct {
	Name string `json:"name"`
	Seed string `json:"seed"`
	// Command is what the node may become it by, and Node and Renew are its JWTs;
	// empty until a station gave them.
	Command *message.Enclosed `json:"command,omitempty"`
	Node    string            `json:"node,omitempty"`
	Renew   string            `json:"renew,omitempty"`
}

// readSuccessor reads it, nil where there is none. What is left of one that the
// node has become already is none.
func (n *Node) readSuccessor() (*successor, error) {
	data, err := readFile(n.successor)
	if err != nil || data == nil {
		return nil, err
	}
	var s successor
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fleet.Errorf(fleet.Internal, "%s cannot be read: remove it, and send the rename again: %w", n.successor, err)
	}
	if s.Name == n.Credentials().Name {
		return nil, nil
	}
	return &s, nil
}

func (n *Node) writeSuccessor(s successor) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = writeFile(n.successor, append(data, '\n'))
	}
	if err != nil {
		return fleet.Errorf(fleet.Internal, "keep what the node is to become: %w", err)
	}
	return nil
}

// SuccessorKey signs with the key for another name that the node is to have. It
// is made once, so who asks and hears no answer asks again with the same. The
// error is Conflict where the node is about to become yet another.
func (n *Node) SuccessorKey(name string) (message.Signer, error) {
	s, err := n.readSuccessor()
	switch {
	case err != nil:
		return nil, err
	case s != nil && s.Name != name && s.Command != nil:
		return nil, fleet.Errorf(fleet.Conflict, "the node is about to become %s", s.Name)
	case s == nil || s.Name != name:
		_, seed, err := NewUserKey()
		if err != nil {
			return nil, err
		}
		s = &successor{Name: name, Seed: string(seed)}
		if err := n.writeSuccessor(*s); err != nil {
			return nil, err
		}
	}
	return s.key()
}

func (s successor) key() (*Credentials, error) {
	pair, err := nkeys.FromSeed([]byte(s.Seed))
	if err != nil {
		return nil, fleet.Errorf(fleet.Internal, "the key for the name %s: %w", s.Name, err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	private, err := privateKey(pair)
	return &Credentials{Name: s.Name, Key: public, private: private}, err
}

// KeepSuccessor keeps the JWTs for that name and key, and the command that they
// were given for; until is when the node's ends. issuers are the keys that may sign
// them. The error is Refused for JWTs that are not that node's.
func (n *Node) KeepSuccessor(name, node, renew string, issuers []string, command message.Enclosed) (until time.Time, err error) {
	s, err := n.readSuccessor()
	if err != nil {
		return until, err
	}
	if s == nil || s.Name != name {
		return until, fleet.Errorf(fleet.Conflict, "no key was made for the name %s", name)
	}
	key, err := s.key()
	if err != nil {
		return until, err
	}
	key.Account = n.Credentials().Account
	if err := key.fits(renew, subjects.Renew, key.Key, issuers); err != nil {
		return until, err
	}
	if err := key.fits(node, subjects.Node, key.Key, issuers); err != nil {
		return until, err
	}
	if i, err := ReadIssued(node); err == nil {
		until = i.Until
	}
	s.Node, s.Renew, s.Command = node, renew, &command
	return until, n.writeSuccessor(*s)
}

// Successor is the name of the node that this one is to become, as soon as it has
// said all that it has to say, and by which command; "" for none.
func (n *Node) Successor() (name string, command message.Enclosed, err error) {
	s, err := n.readSuccessor()
	if err != nil || s == nil || s.Command == nil {
		return "", command, err
	}
	return s.Name, *s.Command, nil
}

// Succeed puts its successor into the place of this node, on disk: who opens the
// identity next has that one. What is read here stays what it was. A kill at any
// line leaves the one or the other, and once more is as good as once.
func (n *Node) Succeed() error {
	s, err := n.readSuccessor()
	if err != nil {
		return err
	}
	if s == nil || s.Command == nil {
		return fleet.Errorf(fleet.Conflict, "the node is to become no other")
	}
	if err := n.write(s.Node, s.Renew, []byte(s.Seed)); err != nil {
		return err
	}
	return n.DropSuccessor()
}

// DropSuccessor has the node stay what it is.
func (n *Node) DropSuccessor() error {
	if err := os.Remove(n.successor); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fleet.Errorf(fleet.Internal, "forget what the node was to become: %w", err)
	}
	return nil
}

// fits checks that a JWT makes a key the node, or lets it renew.
func (c *Credentials) fits(token string, role subjects.Role, key string, issuers []string) error {
	i, err := ReadIssued(token)
	switch {
	case err != nil:
		return err
	case !slices.Contains(issuers, i.Issuer):
		return fleet.Errorf(fleet.Refused, "the JWT is signed by %s, which the trust set does not name as an issuer", i.Issuer)
	case i.Account != c.Account:
		return fleet.Errorf(fleet.Refused, "the JWT is of account %s and not of %s", i.Account, c.Account)
	case i.Name != c.Name || i.Role != role:
		return fleet.Errorf(fleet.Refused, "the JWT is for %s %q and not for %s %q", i.Role, i.Name, role, c.Name)
	case i.Key != key:
		return fleet.Errorf(fleet.Refused, "the JWT is for key %s and not for %s", i.Key, key)
	}
	return nil
}
