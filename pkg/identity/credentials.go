package identity

import (
	"crypto/ed25519"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Credentials are a user's JWT and private key, as a creds file holds them.
// They sign messages and are safe for use by several goroutines.
type Credentials struct {
	Name    string
	Role    subjects.Role // "" where the JWT was not issued by Fairlead
	Key     string        // public nkey
	Account string        // public key of the account
	File    string
	Issued  time.Time // when the JWT was, by its issuer's clock
	Expires time.Time // zero for never
	Warning string    // something to tell the user, such as a file that others can read; "" for nothing

	mu      sync.Mutex
	token   string    // may be renewed
	at      time.Time // and when it was issued
	until   time.Time
	issuer  string
	private ed25519.PrivateKey
}

// LoadCreds reads a creds file, of Fairlead's making or nsc's. A file that is
// missing is Invalid and os.ErrNotExist. An expired JWT is Expired, by this
// host's clock: the credentials are returned beside that error, for a program
// that leaves the judgement to the broker.
func LoadCreds(path string) (*Credentials, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fleet.Errorf(fleet.Invalid, "no credentials file at the given path: %w", err)
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "read credentials: %w", err)
	}
	c, err := parseCreds(data)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "credentials file %s: %w", path, err)
	}
	c.File = path
	c.Warning = tooOpen(path)
	if !c.Expires.IsZero() && time.Now().After(c.Expires) {
		return c, fleet.Errorf(fleet.Expired, "credentials of %q expired %s ago, at %s: `fairlead user renew %s` where the identities lie makes new ones (%s)",
			c.Name, fleet.Age(time.Since(c.Expires)), c.Expires.UTC().Format(time.RFC3339), c.Name, path)
	}
	return c, nil
}

func parseCreds(data []byte) (*Credentials, error) {
	text, err := jwt.ParseDecoratedJWT(data)
	if err != nil {
		return nil, err
	}
	claims, err := jwt.DecodeUserClaims(text)
	if err != nil {
		return nil, errors.New("it holds no user's JWT: use a file such as `fairlead user` or `nsc` writes")
	}
	pair, err := jwt.ParseDecoratedUserNKey(data)
	if err != nil {
		return nil, errors.New("it holds no user's private key: use a file such as `fairlead user` or `nsc` writes")
	}
	return credentialsOf(text, claims, pair)
}

// credentials are those of a JWT and the seed of its key.
// CredentialsOf are a user's by JWT and seed, for a user that no file holds.
func CredentialsOf(jwt string, seed []byte) (*Credentials, error) { return credentials(jwt, seed) }

func credentials(text string, seed []byte) (*Credentials, error) {
	claims, err := jwt.DecodeUserClaims(text)
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, err
	}
	return credentialsOf(text, claims, pair)
}

func credentialsOf(text string, claims *jwt.UserClaims, pair nkeys.KeyPair) (*Credentials, error) {
	private, err := privateKey(pair)
	if err != nil {
		return nil, err
	}
	if public, err := pair.PublicKey(); err != nil || public != claims.Subject {
		return nil, errors.New("its private key is not that of its JWT: the file was put together from two")
	}
	c := &Credentials{
		Name: claims.Name, Role: roleOf(claims), Key: claims.Subject,
		Account: claims.IssuerAccount, Issued: time.Unix(claims.IssuedAt, 0), token: text, at: time.Unix(claims.IssuedAt, 0), issuer: claims.Issuer, private: private,
	}
	if c.Account == "" {
		c.Account = claims.Issuer
	}
	c.Expires = endOf(claims)
	c.until = c.Expires
	return c, nil
}

func endOf(claims *jwt.UserClaims) time.Time {
	if claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}

// PublicKey is c.Key, as package message asks a signer for it.
func (c *Credentials) PublicKey() string { return c.Key }

// UserName is c.Name, and UserJWT what proves it to a broker, as package bus
// asks for them.
func (c *Credentials) UserName() string { return c.Name }

// UserJWT is the user's JWT; it is no secret without the key.
func (c *Credentials) UserJWT() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// Renew takes a JWT that is no older for the same key, name and account, and writes it
// into the creds file: connections use it from their next handshake on. It
// reports whether it did; the caller has seen to it that the JWT comes from who
// issues them. The error is Refused for one that is somebody else's, and Internal
// where the file cannot be written, which leaves the JWT in use.
func (c *Credentials) Renew(token string) (bool, error) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return false, fleet.Errorf(fleet.Refused, "what came as renewed JWT of %q is none: %w", c.Name, err)
	}
	if claims.Subject != c.Key || claims.Name != c.Name || claims.IssuerAccount != c.Account || roleOf(claims) != c.Role {
		return false, fleet.Errorf(fleet.Refused, "what came as renewed JWT of %q is somebody else's", c.Name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Unix(claims.IssuedAt, 0)
	if at.Before(c.at) || token == c.token { // time counts seconds here: one of the same second may be younger
		return false, nil
	}
	c.token, c.at, c.until = token, at, endOf(claims)
	if c.File == "" {
		return true, nil
	}
	if err := c.rewrite(token); err != nil {
		return true, fleet.Errorf(fleet.Internal, "keep the renewed JWT of %q in %s: %w", c.Name, c.File, err)
	}
	return true, nil
}

// Life is when the JWT was issued and when it ends, zero for never.
func (c *Credentials) Life() (from, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, c.until
}

// rewrite puts another JWT into the creds file, beside the key that is there.
func (c *Credentials) rewrite(token string) error {
	data, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	pair, err := jwt.ParseDecoratedUserNKey(data)
	if err != nil {
		return err
	}
	if public, err := pair.PublicKey(); err != nil || public != c.Key {
		return errors.New("another key lies there by now")
	}
	text, err := credsText(token, pair)
	if err != nil {
		return err
	}
	return writeFile(c.File, text)
}

// Inbox is the prefix of the replies that the user may hear.
func (c *Credentials) Inbox() string { return subjects.InboxOf(c.Role, c.Name) }

// AccountKey is c.Account, as package client asks for it.
func (c *Credentials) AccountKey() string { return c.Account }

// Sign returns the Ed25519 signature of data. The key is held ready: nkeys
// would derive it from the seed each time, 46 µs instead of 27
// (BenchmarkSign).
func (c *Credentials) Sign(data []byte) ([]byte, error) {
	return ed25519.Sign(c.private, data), nil
}

func privateKey(pair nkeys.KeyPair) (ed25519.PrivateKey, error) {
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	_, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(raw), nil
}

func roleOf(claims *jwt.UserClaims) subjects.Role {
	for _, tag := range claims.Tags {
		if role, ok := strings.CutPrefix(tag, roleTag); ok {
			return subjects.Role(role)
		}
	}
	return ""
}
