package identity

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
)

// key is a key pair of the directory. Its public half is at hand; the seed is
// read when something has to be signed, since it may be encrypted, or lie
// somewhere else.
type key struct {
	path   string // of its seed
	public string
	vault  *vault
	pair   nkeys.KeyPair // of a key that is not in a directory
}

// pubPath is where the public half of an encrypted seed lies.
func pubPath(seed string) string { return strings.TrimSuffix(seed, ".seed") + ".pub" }

// loadKey finds the key whose seed is at path, and makes it where there is
// none. known is the public half that an existing JWT names, "" where none
// does: such a key is not made anew. Where away is set its seed may be missing,
// being kept somewhere else.
func (v *vault) loadKey(path string, kind nkeys.PrefixByte, known, named string, away bool) (key, error) {
	k, err := v.findKey(path, kind)
	if err != nil {
		return key{}, err
	}
	switch {
	case k.public == "" && known == "":
		return v.makeKey(path, kind)
	case k.public == "" && away:
		return key{path: path, public: known, vault: v}, nil
	case k.public == "":
		return key{}, fmt.Errorf("%s is missing but %s names it: restore it from a backup (a new key would lock every user out)", path, named)
	case known != "" && k.public != known:
		return key{}, fmt.Errorf("%s does not belong to %s: restore both from one backup", path, named)
	}
	return k, nil
}

// findKey reads the public half of a key; it is empty where there is no seed.
func (v *vault) findKey(path string, kind nkeys.PrefixByte) (key, error) {
	seed, err := readFile(path)
	if err != nil {
		return key{}, err
	}
	k := key{path: path, vault: v}
	if seed != nil {
		pair, err := pairOf(path, seed)
		if err != nil {
			return key{}, err
		}
		k.public, err = pair.PublicKey()
		if err != nil {
			return key{}, fmt.Errorf("%s: %w", path, err)
		}
	} else if v.has(path) {
		text, err := os.ReadFile(pubPath(path))
		if err != nil {
			return key{}, fmt.Errorf("the public half of %s%s: %w", path, sealedSuffix, err)
		}
		k.public = strings.TrimSpace(string(text))
	} else {
		return k, nil
	}
	if nkeys.Prefix(k.public) != kind {
		return key{}, fmt.Errorf("%s holds a key of kind %s: want %s", path, nkeys.Prefix(k.public), kind)
	}
	return k, nil
}

func pairOf(path string, seed []byte) (nkeys.KeyPair, error) {
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a key: %w", path, err)
	}
	return pair, nil
}

// makeKey makes a key and writes its seed.
func (v *vault) makeKey(path string, kind nkeys.PrefixByte) (key, error) {
	if v.reading {
		return key{path: path, vault: v}, nil
	}
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		return key{}, err
	}
	return v.keepKey(path, pair)
}

// keepKey writes a key's seed, and beside an encrypted one its public half.
func (v *vault) keepKey(path string, pair nkeys.KeyPair) (key, error) {
	seed, err := pair.Seed()
	if err != nil {
		return key{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return key{}, err
	}
	if v.sealed() {
		if err := writeFile(pubPath(path), []byte(public+"\n")); err != nil {
			return key{}, err
		}
	}
	return key{path: path, public: public, vault: v}, v.write(path, append(bytes.Clone(seed), '\n'))
}

// open reads the seed. The error is Unknown where it is not in the directory,
// and Refused where it is encrypted and the passphrase is missing.
func (k key) open() (nkeys.KeyPair, error) {
	if k.pair != nil {
		return k.pair, nil
	}
	seed, err := k.vault.read(k.path)
	if err != nil {
		return nil, err
	}
	if seed == nil {
		return nil, fleet.Errorf(fleet.Unknown, "%s is not here: bring it back for this, from where it is kept", k.path)
	}
	pair, err := pairOf(k.path, seed)
	if err != nil {
		return nil, err
	}
	if public, err := pair.PublicKey(); err != nil || public != k.public {
		return nil, fmt.Errorf("%s is another key than %s", k.path, k.public)
	}
	return pair, nil
}

// there reports whether the seed is in the directory.
func (k key) there() bool { return k.vault.has(k.path) }

// remove forgets a key.
func (k key) remove() error {
	return errors.Join(k.vault.remove(k.path), removeFile(pubPath(k.path)))
}

// tooOpen says that others than the owner may read a secret, "" where not.
func tooOpen(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("%s can be read by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
}
