package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/nats-io/jwt/v2"

	"fairlead/subjects"
)

func (a *Authority) issueOperator(path string, have []byte) (string, error) {
	if have != nil {
		claims, err := jwt.DecodeOperatorClaims(string(have))
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		if claims.Subject != a.operator.public || claims.SystemAccount != a.system.public {
			return "", fmt.Errorf("%s does not belong to the seeds beside it: restore all of them from one backup", path)
		}
		return string(have), nil
	}
	claims := jwt.NewOperatorClaims(a.operator.public)
	claims.Name = "fairlead"
	claims.SystemAccount = a.system.public
	text, err := claims.Encode(a.operator.pair)
	if err != nil {
		return "", err
	}
	return text, writeFile(path, []byte(text))
}

func (a *Authority) issueSystem(path string) error {
	have, err := readAccount(path)
	if err != nil {
		return err
	}
	claims := jwt.NewAccountClaims(a.system.public)
	claims.Name = "system"
	return a.issueAccount(path, claims, have)
}

func (a *Authority) issueTenant(path string, have *jwt.AccountClaims) error {
	claims := jwt.NewAccountClaims(a.account.public)
	claims.Name = a.options.Tenant
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit,
		Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit,
	}
	for _, m := range subjects.Mappings() {
		claims.AddMapping(jwt.Subject(m.From), jwt.WeightedMapping{Subject: jwt.Subject(m.To), Weight: 100})
	}
	for _, role := range subjects.Roles() {
		scope := jwt.NewUserScope()
		scope.Key = a.roles[role].public
		scope.Role = string(role)
		grant := subjects.Grant(role, a.options.Methods[role])
		scope.Template.Pub = permission(grant.Publish)
		scope.Template.Sub = permission(grant.Subscribe)
		claims.SigningKeys.AddScopedSigner(scope)
	}
	return a.issueAccount(path, claims, have)
}

// permission turns an allow-list into nats-server's, where an empty one
// would allow everything.
func permission(allow []string) jwt.Permission {
	if len(allow) == 0 {
		return jwt.Permission{Deny: jwt.StringList{">"}}
	}
	return jwt.Permission{Allow: allow}
}

// issueAccount writes the account's JWT where it is not as it should be.
func (a *Authority) issueAccount(path string, claims, have *jwt.AccountClaims) error {
	if have != nil && have.Subject != claims.Subject {
		return fmt.Errorf("%s does not belong to the seed beside it: restore both from one backup", path)
	}
	if have != nil && have.Issuer == a.operator.public && have.Name == claims.Name && sameContent(*claims, *have) {
		return nil
	}
	text, err := claims.Encode(a.operator.pair)
	if err != nil {
		return fmt.Errorf("issue account %s: %w", claims.Name, err)
	}
	return writeFile(path, []byte(text))
}

// sameContent compares without what every issue changes: time and id.
func sameContent(want, have jwt.AccountClaims) bool {
	want.ClaimsData, want.GenericFields = have.ClaimsData, have.GenericFields
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

// scopeOf says that an account already has a key for a role, "" where not.
func scopeOf(account *jwt.AccountClaims, role subjects.Role) string {
	if account == nil {
		return ""
	}
	for _, scope := range account.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok && s.Role == string(role) {
			return fmt.Sprintf("account %q has role %s", account.Name, role)
		}
	}
	return ""
}
