package identity

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// Share is what one tenant lets another have: messages that it publishes, or
// with Service requests that it answers. Only whom it was granted gets it.
type Share struct {
	Subject string `json:"subject"` // of the one who gives
	Service bool   `json:"service,omitempty"`
	From    string `json:"from,omitempty"` // the tenant that gives, of an import
	Local   string `json:"local,omitempty"`
}

func (s Share) kind() jwt.ExportType {
	if s.Service {
		return jwt.Service
	}
	return jwt.Stream
}

func (s Share) word() string {
	if s.Service {
		return "service"
	}
	return "stream"
}

// Export lets the tenant give something, or with remove no longer; nobody has
// it before Import grants it. The error is Invalid for a subject that is none.
func (a *Authority) Export(s Share, remove bool) error {
	if err := checkShared(s.Subject); err != nil {
		return err
	}
	return a.update(func(c *jwt.AccountClaims) error {
		same := func(e *jwt.Export) bool { return string(e.Subject) == s.Subject && e.Type == s.kind() }
		there := slices.ContainsFunc(c.Exports, same)
		switch {
		case remove && !there:
			return fleet.Errorf(fleet.Unknown, "tenant %q exports no %s %q: %s", a.options.Tenant, s.word(), s.Subject, named(a.Exports()))
		case remove:
			c.Exports = slices.DeleteFunc(c.Exports, same)
		case !there:
			c.Exports.Add(&jwt.Export{Name: s.word() + " " + s.Subject, Subject: jwt.Subject(s.Subject), Type: s.kind(), TokenReq: true})
		}
		return valid(c)
	})
}

// Import gives the tenant what another one exports, or takes it away again.
// The other's account signs that it may have it. The messages are seen below
// subjects.Imported, unless Local says otherwise.
func (a *Authority) Import(s Share, remove bool) error {
	if err := checkShared(s.Subject); err != nil {
		return err
	}
	if s.From == a.options.Tenant {
		return fleet.Errorf(fleet.Invalid, "tenant %q has what is its own already", s.From)
	}
	giver, err := Load(a.dir, Options{Tenant: s.From, Methods: a.options.Methods, Passphrase: a.options.Passphrase, Now: a.options.Now})
	if err != nil {
		return err
	}
	if !remove && !slices.ContainsFunc(giver.tenant.Exports, func(e *jwt.Export) bool {
		return e.Type == s.kind() && jwt.Subject(s.Subject).IsContainedIn(e.Subject)
	}) {
		return fleet.Errorf(fleet.Unknown, "tenant %q exports no %s %q: %s; `fairlead tenant export %s` does", s.From, s.word(), s.Subject, named(giver.Exports()), s.From)
	}
	return a.update(func(c *jwt.AccountClaims) error {
		same := func(i *jwt.Import) bool {
			return i.Account == giver.account.public && string(i.Subject) == s.Subject && i.Type == s.kind()
		}
		there := slices.ContainsFunc(c.Imports, same)
		if remove && !there {
			return fleet.Errorf(fleet.Unknown, "tenant %q imports no %s %q from %q: %s", a.options.Tenant, s.word(), s.Subject, s.From, named(a.Imports()))
		}
		c.Imports = slices.DeleteFunc(c.Imports, same)
		if remove {
			return nil
		}
		grant, err := giver.grant(s, a.account.public)
		if err != nil {
			return err
		}
		local := s.Local
		if local == "" {
			local = renamed(s)
		}
		c.Imports.Add(&jwt.Import{Name: s.From + " " + s.word() + " " + s.Subject, Subject: jwt.Subject(s.Subject), Account: giver.account.public,
			Token: grant, LocalSubject: jwt.RenamingSubject(local), Type: s.kind()})
		return valid(c)
	})
}

// grant is the account's word that another one may have what it exports.
func (a *Authority) grant(s Share, to string) (string, error) {
	pair, err := a.account.open()
	if err != nil {
		return "", err
	}
	claims := jwt.NewActivationClaims(to)
	claims.Name = s.word() + " " + s.Subject
	claims.ImportSubject, claims.ImportType = jwt.Subject(s.Subject), s.kind()
	return claims.Encode(pair)
}

// renamed is where an import is seen, with each wildcard in its place.
func renamed(s Share) string {
	var tokens []string
	wildcards := 0
	for _, token := range strings.Split(subjects.Imported(s.From, s.Subject), ".") {
		if token == "*" {
			wildcards++
			token = "$" + strconv.Itoa(wildcards)
		}
		tokens = append(tokens, token)
	}
	return strings.Join(tokens, ".")
}

// Exports are what the tenant exports.
func (a *Authority) Exports() (all []Share) {
	for _, e := range a.tenant.Exports {
		all = append(all, Share{Subject: string(e.Subject), Service: e.Type == jwt.Service})
	}
	return all
}

// Imports are what the tenant imports.
func (a *Authority) Imports() (all []Share) {
	names := make(map[string]string)
	tenants, _ := Tenants(a.dir)
	for _, name := range tenants {
		if c, err := readAccount(filepath.Join(a.dir, "tenants", name, "account.jwt")); err == nil && c != nil {
			names[c.Subject] = name
		}
	}
	for _, i := range a.tenant.Imports {
		if i.Account == a.operator.SystemAccount {
			continue // of importLinks: no other tenant's
		}
		all = append(all, Share{Subject: string(i.Subject), Service: i.Type == jwt.Service, From: names[i.Account], Local: string(i.LocalSubject)})
	}
	return all
}

func named(all []Share) string {
	var words []string
	for _, s := range all {
		words = append(words, s.word()+" "+s.Subject)
	}
	if len(words) == 0 {
		return "there is none"
	}
	return "there are " + strings.Join(words, ", ")
}

// checkShared refuses what would give away more than somebody meant: what
// begins with a wildcard of any length, and what is the server's own.
func checkShared(subject string) error {
	if subject == ">" || strings.HasPrefix(subject, "$") || strings.HasPrefix(subject, "_") || strings.ContainsAny(subject, " \t\r\n") || subject == "" {
		return fleet.Errorf(fleet.Invalid, "subject %q cannot be shared: name messages, such as '*.event.healthreport.*'", subject)
	}
	return nil
}

// valid has the JWT library itself say whether an account is one.
func valid(c *jwt.AccountClaims) error {
	var found jwt.ValidationResults
	c.Validate(&found)
	var faults fleet.Faults
	for _, issue := range found.Issues {
		faults.Addf("account "+c.Name, "%s", issue.Description)
	}
	return faults.Err()
}
