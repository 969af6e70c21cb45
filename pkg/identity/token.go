package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Token is what a host needs to become a node. Who has it can ask for that,
// within what the token allows and until it is used or ends, and can do nothing
// else. It holds whom the host may believe, so that no broker in between can
// give it another fleet.
type Token struct {
	// URL is the broker's address; several are separated by commas.
	URL string `json:"url"`
	// JWT lets the holder of Seed connect and join, nothing else.
	JWT  string `json:"jwt"`
	Seed string `json:"seed"` // "SU…", made for this token alone
	// Account is whose node the host becomes.
	Account string `json:"account"`
	// Signers are the keys that may sign the fleet's trust set, and Version the
	// least that it may have: an older set may trust who is trusted no more.
	Signers []string `json:"signers"`
	Version uint64   `json:"version"`
	// Node is the name that the host takes, where the token is for one; the
	// station decides by what the token's maker wrote, not by this.
	Node string `json:"node,omitempty"`
	// CA is the SHA-256, in hex, of the certificate that the broker's
	// certificate leads to, or of several, separated by commas; "" where a public authority issued it.
	CA string `json:"ca,omitempty"`
}

// tokenPrefix begins every token and says how it is written, so that what is
// pasted wrongly is told at once.
const tokenPrefix = "FL1."

// NewUserKey makes a key pair of a user: a token, a node.
func NewUserKey() (public string, seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", nil, err
	}
	if public, err = pair.PublicKey(); err != nil {
		return "", nil, err
	}
	seed, err = pair.Seed()
	return public, seed, err
}

// String is the token as one word to paste.
func (t Token) String() string {
	data, _ := json.Marshal(t) // of plain fields: cannot fail
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(data)
}

// ParseToken is the inverse of String. The error is Invalid and shows nothing
// of the token.
func ParseToken(text string) (Token, error) {
	text = strings.Join(strings.Fields(text), "") // a terminal may have broken the line
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return Token{}, fleet.Errorf(fleet.Invalid, "this is no token: one begins with %s, as `fairlead token create` prints it", tokenPrefix)
	}
	data, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return Token{}, notWhole()
	}
	var t Token
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&t) != nil || t.URL == "" || t.JWT == "" || !nkeys.IsValidPublicAccountKey(t.Account) || len(t.Signers) == 0 {
		return Token{}, notWhole()
	}
	if _, err := t.Credentials(); err != nil {
		return Token{}, notWhole()
	}
	return t, nil
}

func notWhole() error {
	return fleet.Errorf(fleet.Invalid, "the token is not whole: copy all of the line that `fairlead token create` printed")
}

// Credentials are those of the token's holder.
func (t Token) Credentials() (*Credentials, error) {
	c, err := credentials(t.JWT, []byte(t.Seed))
	if err != nil {
		return nil, err
	}
	if c.Role != subjects.Join || c.Name != subjects.TokenID(c.Key) || c.Account != t.Account {
		return nil, notWhole()
	}
	return c, nil
}

// ID names the token, as `fairlead token ls` shows it.
func (t Token) ID() string {
	c, err := t.Credentials()
	if err != nil {
		return ""
	}
	return c.Name
}
