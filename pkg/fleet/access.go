package fleet

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

func checkAccess(faults *Faults, at string, rules []AddressRule) {
	atMost(faults, at, len(rules), 1000)
	for i, rule := range rules {
		faults.add(item(at, i), rule.problem())
	}
}

// BasicAuth asks for a name and a password. They travel as they are: use it
// over TLS.
type BasicAuth struct {
	Realm string `json:"realm,omitempty"` // shown by browsers, "restricted" when empty
	Users []User `json:"users,omitempty"` // at least one, unless off
	Off   bool   `json:"off,omitempty"`   // no password is asked for here, whatever the host says
}

// User may come in.
type User struct {
	Name string `json:"name"` // letters, digits and ._@+-, at most 128
	// Hash of the password, as `htpasswd -nB NAME` (bcrypt), `openssl passwd -apr1` or `openssl passwd -6` write it, or
	// {SHA} and {SSHA}. Workers verify it for each request, so a bcrypt cost above 12 is refused.
	Hash string `json:"hash"`
}

var (
	userName = NewPattern(`^[A-Za-z0-9._@+-]{1,128}$`)
	hashes   = []*regexp.Regexp{
		regexp.MustCompile(`^\$2[aby]\$(0[4-9]|1[0-2])\$[./A-Za-z0-9]{53}$`),
		regexp.MustCompile(`^\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}$`),
		regexp.MustCompile(`^\$5\$(rounds=[0-9]{4,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43}$`),
		regexp.MustCompile(`^\$6\$(rounds=[0-9]{4,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}$`),
	}
)

// PasswordHash says whether a text is a hash that nginx can verify a password by.
func PasswordHash(text string) bool {
	for _, re := range hashes {
		if re.MatchString(text) {
			return true
		}
	}
	if sum, ok := strings.CutPrefix(text, "{SHA}"); ok {
		raw, err := base64.StdEncoding.DecodeString(sum)
		return err == nil && len(raw) == 20 && !strings.ContainsAny(sum, "\r\n")
	}
	if sum, ok := strings.CutPrefix(text, "{SSHA}"); ok {
		raw, err := base64.StdEncoding.DecodeString(sum)
		return err == nil && len(raw) > 20 && len(raw) <= 84 && !strings.ContainsAny(sum, "\r\n")
	}
	return false
}

func (b *BasicAuth) check(faults *Faults, at string) {
	if b == nil {
		return
	}
	if b.Off {
		if b.Realm != "" || len(b.Users) > 0 {
			faults.Addf(at+".off", "does not go with other fields")
		}
		return
	}
	switch problem := wordProblem(b.Realm, "\"\\$"); {
	case problem != "":
		faults.add(at+".realm", problem)
	case len(b.Realm) > 200:
		faults.Addf(at+".realm", "is %d bytes long: use at most 200", len(b.Realm))
	case b.Realm == "off":
		faults.Addf(at+".realm", "off would ask for no password: use another word")
	}
	if len(b.Users) == 0 {
		faults.Addf(at+".users", "is missing: name at least one, or nobody could come in")
	}
	atMost(faults, at+".users", len(b.Users), 1000)
	seen := once{}
	for i, u := range b.Users {
		path := item(at+".users", i)
		if !userName.MatchString(u.Name) {
			faults.Addf(path+".name", "%q is not a user name: use 1 to 128 letters, digits and ._@+-", clip(u.Name))
		}
		seen.check(faults, path, u.Name)
		if !PasswordHash(u.Hash) {
			faults.add(path+".hash", hashProblem(u.Hash))
		}
	}
}

// hashProblem does not repeat the value, which may be a password.
func hashProblem(hash string) string {
	const allowed = "write what htpasswd -nB or openssl passwd -6 prints after the name"
	switch {
	case hash == "":
		return "is missing: " + allowed
	case strings.HasPrefix(hash, "$2"):
		return "is not a bcrypt hash with a cost of 4 to 12: " + allowed
	}
	return fmt.Sprintf("is not the hash of a password (bcrypt, apr1, sha256, sha512, {SHA} or {SSHA}): %s", allowed)
}
