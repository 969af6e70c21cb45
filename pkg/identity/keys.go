package identity

import (
	"bytes"
	"fmt"
	"os"

	"github.com/nats-io/nkeys"
)

// key is a key pair with its public half at hand.
type key struct {
	pair   nkeys.KeyPair
	public string
}

// loadKey reads the seed at path, and makes one where there is none. taken
// names what an existing JWT already says of this key, "" where nothing does:
// a key that is taken is not made.
func loadKey(path string, kind nkeys.PrefixByte, taken string) (key, error) {
	seed, err := readFile(path)
	if err != nil {
		return key{}, err
	}
	if seed == nil {
		if taken != "" {
			return key{}, fmt.Errorf("%s is missing but %s: restore it from a backup (a new key would lock every user out)", path, taken)
		}
		if seed, err = makeSeed(path, kind); err != nil {
			return key{}, err
		}
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return key{}, fmt.Errorf("%s does not hold a key: %w", path, err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	if nkeys.Prefix(public) != kind {
		return key{}, fmt.Errorf("%s holds a key of kind %s: want %s", path, nkeys.Prefix(public), kind)
	}
	return key{pair, public}, nil
}

func makeSeed(path string, kind nkeys.PrefixByte) ([]byte, error) {
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		return nil, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	return seed, writeFile(path, append(bytes.Clone(seed), '\n'))
}

// tooOpen says that others than the owner may read a secret, "" where not.
func tooOpen(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("%s can be read by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
}
