package fleet

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// The hash of a password is sealed before it is stored. What is stored beside
// it, and is rendered and compared in its place, is a fingerprint: who has the
// hash can tell whether it is this one, and who has not can make nothing of it.
//
// A fingerprint is 16 random bytes of salt and the SHA-256 of a key and the
// hash; the key is made of the hash and that salt by PBKDF2. Key and hash are
// what is sealed, so that who opened them compares fast. To guess a password by
// its fingerprint one has to make the key: hopeless where the hash has salt of
// its own, and slow for the forms that have none.

const (
	printSalt   = 16
	printLength = 64 // of a fingerprint: salt and SHA-256 in base64

	// slowRounds is what making a key costs where a hash has little salt: what OWASP's Password Storage Cheat Sheet asks
	// of PBKDF2 with SHA-256. It takes a tenth of a second.
	slowRounds = 600_000
	// enoughSalt is how many characters of salt are more than anybody tries, 48 bits.
	enoughSalt = 8
)

var printText = base64.RawURLEncoding.Strict()

// PrintHash gives the hash of a password a new fingerprint, and the secret that
// is to be sealed with it: one line of text.
func PrintHash(hash string) (fingerprint string, secret []byte) {
	salt := make([]byte, printSalt)
	rand.Read(salt) // never fails
	return printHash(salt, hash)
}

// MatchHash reports whether a fingerprint is of a hash, and gives the secret
// that is to be sealed with it. It is as slow as guessing is meant to be.
func MatchHash(fingerprint, hash string) (secret []byte, ok bool) {
	raw, err := printText.DecodeString(fingerprint)
	if err != nil || len(fingerprint) != printLength {
		return nil, false
	}
	again, secret := printHash(raw[:printSalt], hash)
	return secret, again == fingerprint
}

// HashOf is the hash that a secret holds. The error is Invalid where it is not
// what the fingerprint says, and shows nothing of it.
func HashOf(fingerprint string, secret []byte) (hash string, err error) {
	text, rest, _ := bytes.Cut(secret, []byte(" "))
	raw, err := printText.DecodeString(fingerprint)
	key, kerr := printText.DecodeString(string(text))
	if err != nil || kerr != nil || len(fingerprint) != printLength || !bytes.Equal(raw[printSalt:], checkOf(key, string(rest))) || !PasswordHash(string(rest)) {
		return "", Errorf(Invalid, "is not the hash that its fingerprint is of")
	}
	return string(rest), nil
}

func printHash(salt []byte, hash string) (fingerprint string, secret []byte) {
	rounds := 1
	if !salted(hash) {
		rounds = slowRounds
	}
	key, err := pbkdf2.Key(sha256.New, hash, salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // of lengths that are too large for SHA-256: these are constant
	}
	secret = []byte(printText.EncodeToString(key) + " " + hash)
	return printText.EncodeToString(append(bytes.Clone(salt), checkOf(key, hash)...)), secret
}

func checkOf(key []byte, hash string) []byte {
	sum := sha256.Sum256([]byte("fairlead password 1\n" + string(key) + hash))
	return sum[:]
}

// salted reports whether a hash has so much salt that nobody finds it by guessing
// the password.
func salted(hash string) bool {
	if sum, ok := strings.CutPrefix(hash, "{"); ok {
		_, text, _ := strings.Cut(sum, "}")
		raw, err := base64.StdEncoding.DecodeString(text)
		return err == nil && len(raw) >= 20+enoughSalt // {SSHA}: SHA-1, and then the salt
	}
	parts := strings.Split(hash, "$")
	return strings.HasPrefix(hash, "$2") || len(parts) > 2 && len(parts[len(parts)-2]) >= enoughSalt
}

// isFingerprintOfHash keeps out what PrintHash does not write.
func isFingerprintOfHash(text string) bool {
	_, err := printText.DecodeString(text)
	return err == nil && len(text) == printLength
}

// SealedTo are the public curve keys that what a resource holds is sealed to,
// each once; none where it holds nothing sealed.
func SealedTo(s Spec) (keys []string) {
	switch s := s.(type) {
	case *Certificate:
		if s.Stored() {
			keys = append(keys, s.SealedTo)
		}
	case *VirtualHost:
		for _, b := range s.BasicAuths() {
			if b.SealedTo != "" && !slices.Contains(keys, b.SealedTo) {
				keys = append(keys, b.SealedTo)
			}
		}
	}
	return keys
}
