package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Files of a node's identity, in a directory of their own.
const (
	nodeCreds  = "node.creds"     // to be the node with
	renewCreds = "renew.creds"    // the same key, and a JWT that may only ask for a new one
	nextSeed   = "next.seed"      // a key that is to become the node's
	nextNode   = "successor.json" // a name that is to become the node's, its key and its credentials
	// NodeTrust is the trust set that the host was given when it joined.
	NodeTrust = "trust.json"
	// NodeCA is the broker's certificate that the token named, if it named one.
	NodeCA = "ca.pem"
)

// Node is a node's identity as it lies on its disk, 0600. It signs and connects
// with the newest credentials and is safe for use by several goroutines.
type Node struct {
	creds, renew, next string // paths
	successor          string // likewise
	mu                 sync.RWMutex
	current            *Credentials // without a key before it joined
	renewal            *Credentials // nil where there are none
}

// OpenNode reads the identity in a directory. The error is Invalid and
// os.ErrNotExist where there is none.
func OpenNode(dir string) (*Node, error) {
	n := newNode(dir)
	return n, n.load()
}

// NewNode begins the identity of a host that is to become a node of an account
// under a name. It is one once it has adopted its first JWTs. The error is
// Conflict where the directory holds a node's identity already.
func NewNode(dir, account, name string) (*Node, error) {
	n := newNode(dir)
	if c, err := LoadCreds(n.creds); c != nil || !errors.Is(err, os.ErrNotExist) {
		if c != nil {
			return nil, fleet.Errorf(fleet.Conflict, "this host is node %s already (%s): to make it another, move that directory away", c.Name, dir)
		}
		return nil, fleet.Errorf(fleet.Conflict, "this host is a node already, and its identity cannot be read: %w", err)
	}
	n.current = &Credentials{Name: name, Account: account}
	return n, nil
}

func newNode(dir string) *Node {
	return &Node{creds: filepath.Join(dir, nodeCreds), renew: filepath.Join(dir, renewCreds), next: filepath.Join(dir, nextSeed),
		successor: filepath.Join(dir, nextNode)}
}

// NodeOf is the identity of a creds file by itself, which is written anew when
// it is renewed; what else there is lies beside it.
func NodeOf(creds string) (*Node, error) {
	base := strings.TrimSuffix(creds, ".creds")
	n := &Node{creds: creds, renew: base + ".renew.creds", next: base + ".next.seed", successor: base + ".successor.json"}
	return n, n.load()
}

// load reads the files. That credentials have expired is for the broker to say.
func (n *Node) load() error {
	c, err := LoadCreds(n.creds)
	if err != nil && fleet.KindOf(err) != fleet.Expired {
		return err
	}
	if c.Role != subjects.Node {
		return fleet.Errorf(fleet.Invalid, "%s are the credentials of %q, who is %s and no node", n.creds, c.Name, c.Role)
	}
	n.current = c
	r, err := LoadCreds(n.renew)
	if r != nil && r.Key == c.Key && (err == nil || fleet.KindOf(err) == fleet.Expired) {
		n.renewal = r // of another key it is of no use
	}
	return nil
}

// Credentials are those to be the node with, at this moment.
func (n *Node) Credentials() *Credentials {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.current
}

// UserName, UserJWT, Inbox, PublicKey and Sign are those of Credentials, so
// that a connection takes the newest ones each time that it is made.
func (n *Node) UserName() string { return n.Credentials().UserName() }

// UserJWT is that of Credentials.
func (n *Node) UserJWT() string { return n.Credentials().UserJWT() }

// Inbox is that of Credentials.
func (n *Node) Inbox() string { return n.Credentials().Inbox() }

// PublicKey is that of Credentials.
func (n *Node) PublicKey() string { return n.Credentials().PublicKey() }

// Sign is that of Credentials.
func (n *Node) Sign(data []byte) ([]byte, error) { return n.Credentials().Sign(data) }

// Signer signs with the key of this moment; it keeps it when the node has
// another.
func (n *Node) Signer() message.Signer { return n.Credentials() }

// Life is when the node's JWT was issued and when it ends, zero for never.
func (n *Node) Life() (from, until time.Time) {
	c := n.Credentials()
	return c.Issued, c.Expires
}

// RenewJWT lets the node ask for a new JWT and do nothing else, and until is
// when it ends; "" where there is none.
func (n *Node) RenewJWT() (token string, until time.Time) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.renewal == nil {
		return "", time.Time{}
	}
	return n.renewal.token, n.renewal.Expires
}

// Wanted signs with the key that the node wants to have a JWT for: the one it
// has, or where a new one is wanted or was asked for before, that one. Who asks
// and hears no answer asks again with the same key.
func (n *Node) Wanted(newKey bool) (message.Signer, error) {
	seed, err := readFile(n.next)
	if err == nil && seed == nil {
		if !newKey {
			return n.Signer(), nil
		}
		seed, err = n.makeSeed()
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Internal, "the node's next key: %w", err)
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return nil, fleet.Errorf(fleet.Internal, "%s does not hold a key: remove it, and another is made: %w", n.next, err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	private, err := privateKey(pair)
	return &Credentials{Key: public, private: private}, err
}

func (n *Node) makeSeed() ([]byte, error) {
	_, seed, err := NewUserKey()
	if err != nil {
		return nil, err
	}
	return seed, writeFile(n.next, append(bytes.Clone(seed), '\n'))
}

// Adopt keeps new JWTs for the key that Wanted gave, and uses them from now on.
// issuers are the keys that may sign them. The error is Refused for JWTs that
// are not this node's or end before those it has; Internal where they cannot be
// written: unless the key is new, they are used nevertheless.
func (n *Node) Adopt(node, renew string, issuers []string) error {
	key, err := n.Wanted(false)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, j := range []struct {
		token string
		role  subjects.Role
	}{{node, subjects.Node}, {renew, subjects.Renew}} {
		if err := n.takes(j.token, j.role, key.PublicKey(), issuers); err != nil {
			return err
		}
	}
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, key.(*Credentials).private.Seed())
	if err != nil {
		return err
	}
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	current, err := credentials(node, seed)
	if err != nil {
		return err
	}
	renewal, err := credentials(renew, seed)
	if err != nil {
		return err
	}
	failed := n.write(node, renew, seed)
	if failed != nil && current.Key != n.current.Key {
		return failed
	}
	current.File, renewal.File = n.creds, n.renew
	n.current, n.renewal = current, renewal
	return failed
}

// takes checks that a JWT makes a key this node.
func (n *Node) takes(token string, role subjects.Role, key string, issuers []string) error {
	c := n.current
	if err := c.fits(token, role, key, issuers); err != nil {
		return err
	}
	if i, err := ReadIssued(token); err == nil && role == subjects.Node && key == c.Key && i.Until.Before(c.Expires) {
		return fleet.Errorf(fleet.Refused, "the JWT ends before the one there is: somebody sent an older answer again")
	}
	return nil
}

// write puts the files in place. A kill between two leaves a node.creds that is
// good and a renew.creds of another key, which is ignored until the next renewal.
func (n *Node) write(node, renew string, seed []byte) error {
	for _, file := range []struct{ path, token string }{{n.renew, renew}, {n.creds, node}} {
		text, err := jwt.FormatUserConfig(file.token, seed)
		if err == nil {
			err = writeFile(file.path, text)
		}
		if err != nil {
			return fleet.Errorf(fleet.Internal, "keep the node's new credentials: %w", err)
		}
	}
	if err := os.Remove(n.next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fleet.Errorf(fleet.Internal, "remove the seed that is the node's now: %w", err)
	}
	return nil
}

// Connection says where a node's broker is.
type Connection struct {
	URL string `json:"url"` // several are separated by commas
	// GreetsFirst is for a server that speaks before TLS begins.
	GreetsFirst bool `json:"greetsFirst,omitempty"`
}

const nodeConnection = "connection.json"

// WriteConnection keeps it beside the node's identity.
func WriteConnection(dir string, c Connection) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(dir, nodeConnection), append(data, '\n'))
	}
	if err != nil {
		return fleet.Errorf(fleet.Internal, "keep the broker's address: %w", err)
	}
	return nil
}

// ReadConnection is its inverse. The error is Invalid.
func ReadConnection(dir string) (c Connection, err error) {
	path := filepath.Join(dir, nodeConnection)
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fleet.Errorf(fleet.Invalid, "read the broker's address: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || c.URL == "" {
		return c, fleet.Errorf(fleet.Invalid, "%s holds no broker's address: %w", path, err)
	}
	return c, nil
}

// WriteSecret puts a file of a node's identity in place in one step, 0600.
func WriteSecret(path string, data []byte) error { return writeFile(path, data) }
