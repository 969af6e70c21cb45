package nginx

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// usersFile renders a list of users. Their hashes are sealed: the file is a
// stand-in with fingerprints, the same in station and agent and whoever the
// hashes are sealed to. Hashes that an older version stored in the clear stand
// in it as they are.
//
// Workers read it while they serve, so that it is not closed to all but root:
// their group may read it, and nobody may write it.
func (s *site) usersFile(b *fleet.BasicAuth) File {
	var text strings.Builder
	sealed := false
	for _, u := range b.Users {
		if u.Fingerprint != "" {
			sealed = true
			fmt.Fprintf(&text, "%s:hash with fingerprint %s\n", u.Name, u.Fingerprint)
		} else {
			text.WriteString(u.Name + ":" + u.Hash + "\n")
		}
	}
	f := File{Path: usersDir + s.name + "-" + hash8(text.String()), Mode: forWorkers, Content: []byte(text.String()), Owner: s.id}
	if sealed {
		f.Secret = &Secret{b.SealedUsers, "basicAuth.sealedUsers", hashesOf(b.Users)}
	}
	return f
}

// usersDir holds lists of users in a version.
const usersDir = "auth/"

// hashesOf proves that what was sealed are the hashes of these users: a line
// for each, in their order.
func hashesOf(users []fleet.User) func(opened []byte) ([]byte, error) {
	return func(opened []byte) ([]byte, error) {
		secrets := slices.Collect(bytes.SplitSeq(opened, []byte("\n")))
		if len(secrets) != len(users) {
			return nil, fmt.Errorf("is of %d users, and there are %d", len(secrets), len(users))
		}
		var file bytes.Buffer
		for i, u := range users {
			hash, err := fleet.HashOf(u.Fingerprint, secrets[i])
			if err != nil {
				return nil, fmt.Errorf("for %s %w", u.Name, err)
			}
			file.WriteString(u.Name + ":" + hash + "\n")
		}
		return file.Bytes(), nil
	}
}
