package subjects

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// TokenID is the id of the token that a public key belongs to. It is the name
// of the user who joins with it, too, and longer than a node's name may be: no
// token can be made that hears a node's replies.
func TokenID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// What the bucket Tokens keeps of a token beside the token itself: a use, a
// node that waits for its approval, and an approval.
const (
	TokenUse      = "use"
	TokenWaiting  = "waiting"
	TokenApproved = "approved"
)

// TokenUseKey is the key of a token's n-th use, from 1. Who creates it has
// that use: two joins at once cannot both.
func TokenUseKey(id string, n int) string { return id + "." + TokenUse + "." + strconv.Itoa(n) }

// TokenWaitingKey is the key of a node that waits for its approval.
func TokenWaitingKey(id, node string) string { return id + "." + TokenWaiting + "." + node }

// TokenApprovedKey is the key of a node's approval.
func TokenApprovedKey(id, node string) string { return id + "." + TokenApproved + "." + node }

// ParseTokenKey is the inverse of the three, and of the id alone, which a
// token is kept under; ok is false for any other key.
func ParseTokenKey(key string) (id, what, which string, ok bool) {
	parts := strings.Split(key, ".")
	switch len(parts) {
	case 1:
		return parts[0], "", "", true
	case 3:
		return parts[0], parts[1], parts[2], true
	}
	return "", "", "", false
}
