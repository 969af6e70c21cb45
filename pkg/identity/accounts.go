package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// issueOperator writes the operator's JWT where there is none, or one that
// names no signing keys; the root signs it.
func (a *Authority) issueOperator(path string, have *jwt.OperatorClaims) error {
	claims := have
	if (have == nil || len(have.SigningKeys) == 0) && !a.vault.reading {
		claims = jwt.NewOperatorClaims(a.root.public)
		claims.Name = "fairlead"
		claims.SystemAccount = a.system.public
		claims.StrictSigningKeyUsage = true
		claims.SigningKeys.Add(a.signing.public, a.spare.public)
		return a.writeOperator(path, claims)
	}
	text, err := readFile(path)
	a.operator, a.operatorJWT = claims, string(text)
	return err
}

func (a *Authority) writeOperator(path string, claims *jwt.OperatorClaims) error {
	pair, err := a.root.open()
	if err != nil {
		return err
	}
	text, err := claims.Encode(pair)
	if err != nil {
		return err
	}
	a.operator, a.operatorJWT = claims, text
	return writeFile(path, []byte(text))
}

// issueTenant makes the tenant's account what the code says, keeps what people
// decided (limits, revocations, exports, keys that are being replaced), and
// lets change decide more.
func (a *Authority) issueTenant(path string, have *jwt.AccountClaims, change func(*jwt.AccountClaims) error) error {
	if a.vault.reading {
		a.tenant = have
		return nil
	}
	claims, err := readAccount(path) // a copy
	if err != nil {
		return err
	}
	if claims == nil {
		claims = jwt.NewAccountClaims(a.account.public)
		claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
			MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit,
			Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit,
		}
		a.options.quota.apply(claims)
	}
	claims.Name = a.options.Tenant
	claims.Mappings = jwt.Mapping{}
	for _, m := range subjects.Mappings() {
		claims.AddMapping(jwt.Subject(m.From), jwt.WeightedMapping{Subject: jwt.Subject(m.To), Weight: 100})
	}
	a.importLinks(claims)
	for _, role := range subjects.Roles() {
		a.addScope(claims, role)
	}
	if change != nil {
		if err := change(claims); err != nil {
			return err
		}
	}
	for _, scope := range claims.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok {
			a.fillScope(s)
		}
	}
	if err := a.issueAccount(path, claims, have); err != nil {
		return err
	}
	a.tenant, err = readAccount(path)
	return err
}

// A scope's description says what is special about it: it takes the place of a
// role's grant for one user, or of an older key of the role. The youngest key of
// a role signs; older ones hold until they are dropped. What is there is not
// described anew: brokers disconnect everybody whose scope is another.
const (
	scopeLimited = "limited: " // and the user's name
	scopeSince   = "since: "   // and since when it signs, RFC 3339; "" from the first on
)

// addScope adds the scope of the key that signs a role, where it is not there.
func (a *Authority) addScope(c *jwt.AccountClaims, role subjects.Role) {
	public := a.roles[role].public
	if c.SigningKeys.Contains(public) {
		return
	}
	description := ""
	if before, ok := c.SigningKeys[scopeOf(c, role)].(*jwt.UserScope); ok {
		at := a.options.Now()
		if youngest, _ := since(before); !at.After(youngest.Add(time.Second)) {
			at = youngest.Add(time.Second) // the text counts seconds
		}
		description = scopeSince + at.UTC().Format(time.RFC3339)
	}
	c.SigningKeys.AddScopedSigner(newScope(public, role, description))
}

// since is when a scope began to sign for its whole role; ok is false for a
// scope of one user.
func since(s *jwt.UserScope) (at time.Time, ok bool) {
	if s.Description == "" {
		return at, true
	}
	text, ok := strings.CutPrefix(s.Description, scopeSince)
	if !ok {
		return at, false
	}
	at, err := time.Parse(time.RFC3339, text)
	return at, err == nil
}

func newScope(public string, role subjects.Role, description string) *jwt.UserScope {
	scope := jwt.NewUserScope()
	scope.Key, scope.Role, scope.Description = public, string(role), description
	return scope
}

// fillScope gives a scope the permissions that the code says its role has. A
// limited one says by those that it has what it is limited to.
func (a *Authority) fillScope(s *jwt.UserScope) {
	role := subjects.Role(s.Role)
	grant := subjects.Grant(role, a.options.Methods[role])
	if role == subjects.Leaf {
		grant = subjects.GrantLeaf()
	} else if strings.HasPrefix(s.Description, scopeLimited) {
		grant = subjects.GrantLimited(role, a.options.Methods[role], limitsOf(s))
	}
	s.Template.Pub, s.Template.Sub = permission(grant.Publish), permission(grant.Subscribe)
	s.Template.AllowedConnectionTypes = connectionsOf(role)
}

// connectionsOf are the kinds of connection that a role may use. A leafnode's is
// none of a person or a node, and the other way round.
func connectionsOf(role subjects.Role) jwt.StringList {
	if role == subjects.Leaf {
		return jwt.StringList{jwt.ConnectionTypeLeafnode}
	}
	return jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeInProcess}
}

func limitsOf(s *jwt.UserScope) subjects.Limits {
	return subjects.LimitsOf(subjects.Permissions{Publish: s.Template.Pub.Allow})
}

// permission turns an allow-list into nats-server's, where an empty one
// would allow everything.
func permission(allow []string) jwt.Permission {
	if len(allow) == 0 {
		return jwt.Permission{Deny: jwt.StringList{">"}}
	}
	return jwt.Permission{Allow: slices.Clone(allow)}
}

// issueAccount writes the account's JWT where it is not as it should be.
func (a *Authority) issueAccount(path string, claims, have *jwt.AccountClaims) error {
	if a.vault.reading || have != nil && a.issuedNow(have) && have.Name == claims.Name && sameContent(*claims, *have) {
		return nil
	}
	pair, err := a.signing.open()
	if err != nil {
		return fmt.Errorf("issue account %s: %w", claims.Name, err)
	}
	if have != nil {
		if err := passed(have.IssuedAt); err != nil {
			return fmt.Errorf("issue account %s: %w", claims.Name, err)
		}
	}
	text, err := claims.Encode(pair)
	if err != nil {
		return fmt.Errorf("issue account %s: %w", claims.Name, err)
	}
	if len(text) > maxAccount {
		return fleet.Errorf(fleet.Busy, "issue account %s: its JWT would have %d bytes, more than the %d that brokers take: it names %d revoked keys, each until its last JWT has ended; nothing was changed",
			claims.Name, len(text), maxAccount, len(claims.Revocations))
	}
	return writeFile(path, []byte(text))
}

// maxAccount is the longest JWT of an account that brokers can be told: their
// largest payload is 1 MiB.
const maxAccount = 1<<20 - 4<<10

// passed waits until a second is over: brokers keep the younger of two JWTs, and
// their time counts seconds. The error is Invalid where it lies in the future.
func passed(second int64) error {
	for {
		wait := time.Until(time.Unix(second+1, 0))
		if wait <= 0 {
			return nil
		}
		if wait > 2*time.Second {
			return fleet.Errorf(fleet.Invalid, "it was issued at %s, which is to come: set this host's clock", time.Unix(second, 0).UTC().Format(time.RFC3339))
		}
		time.Sleep(wait)
	}
}

// issuedNow reports whether an account was signed by the key that signs
// accounts now, as far as that is known here.
func (a *Authority) issuedNow(have *jwt.AccountClaims) bool {
	if a.signing.public == "" {
		return a.operator.SigningKeys.Contains(have.Issuer)
	}
	return have.Issuer == a.signing.public
}

// sameContent compares without what every issue changes: time, id and the
// library's version.
func sameContent(want, have jwt.AccountClaims) bool {
	want.ClaimsData, want.Type, want.Version = have.ClaimsData, have.Type, have.Version
	w, errWant := json.Marshal(&want)
	h, errHave := json.Marshal(&have)
	return errWant == nil && errHave == nil && bytes.Equal(w, h)
}

// readAccounts collects the JWTs of the system account and of all tenants.
func (a *Authority) readAccounts() error {
	tenants, err := filepath.Glob(filepath.Join(a.dir, "tenants", "*", "account.jwt"))
	if err != nil {
		return err
	}
	a.accountJWTs = make(map[string]string)
	for _, path := range append(tenants, filepath.Join(a.dir, "system", "account.jwt")) {
		text, err := readFile(path)
		if err != nil {
			return err
		}
		claims, err := jwt.DecodeAccountClaims(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a.accountJWTs[claims.Subject] = string(text)
	}
	return nil
}

// readOperator is nil where there is no such file.
func readOperator(path string) (*jwt.OperatorClaims, error) {
	text, err := readFile(path)
	if text == nil || err != nil {
		return nil, err
	}
	claims, err := jwt.DecodeOperatorClaims(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return claims, nil
}

// readAccount is nil where there is no such file.
func readAccount(path string) (*jwt.AccountClaims, error) {
	text, err := readFile(path)
	if text == nil || err != nil {
		return nil, err
	}
	claims, err := jwt.DecodeAccountClaims(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return claims, nil
}

// scopeOf is the public key that signs a role by an account, "" for none.
func scopeOf(account *jwt.AccountClaims, role subjects.Role) (key string) {
	if account == nil {
		return ""
	}
	var youngest time.Time
	for public, scope := range account.SigningKeys {
		s, ok := scope.(*jwt.UserScope)
		if !ok || s.Role != string(role) {
			continue
		}
		if at, ok := since(s); ok && (key == "" || at.After(youngest)) {
			key, youngest = public, at
		}
	}
	return key
}
