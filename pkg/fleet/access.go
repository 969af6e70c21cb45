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
	// SealedUsers are the hashes of all users, sealed to one node; written by Fairlead and not shown.
	SealedUsers string `json:"sealedUsers,omitempty"`
	// SealedTo is the public curve key of who can open the hashes; written by Fairlead and not shown.
	SealedTo string `json:"sealedTo,omitempty"`
}

// User may come in.
type User struct {
	Name string `json:"name"` // letters, digits and ._@+-, at most 128
	// Hash of the password, as `htpasswd -nB NAME` (bcrypt), `openssl passwd -apr1` or `openssl passwd -6` write it, or
	// {SHA} and {SSHA}. Workers verify it for each request, so a bcrypt cost above 12 is refused. It is sealed when it is
	// applied, and is stored, logged and shown nowhere in the clear.
	Hash string `json:"hash,omitempty"`
	// Fingerprint says which hash it is and not what, written by `fairlead apply`. Without hash it stands for the one that is
	// stored already.
	Fingerprint string `json:"fingerprint,omitempty"`
	// SealedHash is the hash, sealed; written by Fairlead and not shown.
	SealedHash string `json:"sealedHash,omitempty"`
}

// MaxSealedUsers is the most bytes of the sealed hashes of one list, which has at
// most 1000 users; MaxSealedHash is that of one.
const (
	MaxSealedUsers = 512 << 10
	MaxSealedHash  = 1 << 10
)

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
		if b.Realm != "" || len(b.Users) > 0 || b.SealedTo+b.SealedUsers != "" {
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
		u.check(faults, path)
	}
	b.checkSealed(faults, at)
}

// check takes the hash, as people write it, or a fingerprint that stands for one.
func (u User) check(faults *Faults, at string) {
	switch {
	case u.Hash != "" && u.Fingerprint+u.SealedHash != "":
		faults.Addf(at+".fingerprint", "cannot go with hash: remove it, Fairlead writes a new one")
	case u.Fingerprint == "" && !PasswordHash(u.Hash):
		faults.add(at+".hash", hashProblem(u.Hash))
	case u.Fingerprint != "" && !isFingerprintOfHash(u.Fingerprint):
		faults.Addf(at+".fingerprint", "is not what Fairlead wrote: write the hash in its place")
	}
}

// checkSealed takes a list in three forms: nothing sealed, as people write it; each
// hash sealed to the stations; all sealed together to one node.
func (b *BasicAuth) checkSealed(faults *Faults, at string) {
	sealed := 0
	for i, u := range b.Users {
		if u.SealedHash == "" {
			continue
		}
		if sealed++; !isToken(u.SealedHash) || len(u.SealedHash) > MaxSealedHash || u.Fingerprint == "" {
			faults.Addf(item(at+".users", i)+".sealedHash", "is not what Fairlead wrote: write the hash in its place")
		}
	}
	switch {
	case b.SealedTo == "" && b.SealedUsers == "" && sealed == 0:
	case b.SealedUsers != "" && (sealed > 0 || !isToken(b.SealedUsers) || len(b.SealedUsers) > MaxSealedUsers):
		faults.Addf(at+".sealedUsers", "is not what Fairlead wrote: remove it")
	case b.SealedTo == "" || !isToken(b.SealedTo) || b.SealedUsers == "" && sealed < len(b.Users):
		faults.Addf(at+".sealedTo", "is written by Fairlead alone: remove it and sealedHash")
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
