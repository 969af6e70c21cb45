package identity

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
)

// Encrypted reports whether a directory has a passphrase.
func Encrypted(dir string) bool { return (&vault{dir: dir}).sealed() }

// Encrypt gives the directory a passphrase, or another one, and encrypts the
// seeds that lie there in the clear. Creds files are left as they are: those who
// use them need them in the clear, elsewhere. What was stopped half way is
// finished by doing it again.
func (a *Authority) Encrypt(passphrase []byte) error {
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.vault.setPassphrase(passphrase); err != nil {
		return err
	}
	var faults []error
	for _, path := range a.secrets() {
		data, err := readFile(path)
		if data == nil && err == nil {
			continue // taken away since
		}
		if err == nil && strings.HasSuffix(path, ".seed") {
			err = a.keepPublic(path, data)
		}
		if err == nil {
			err = a.vault.write(path, data)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// secrets are the paths of all secrets in the directory that are in the clear.
func (a *Authority) secrets() []string {
	var all []string
	for _, pattern := range []string{"*.seed", "system/*.seed", "system/*.creds", "ca/*.key", "tenants/*/*.seed", "tenants/*/*/*.seed", "tenants/*/station.keys"} {
		paths, _ := filepath.Glob(filepath.Join(a.dir, filepath.FromSlash(pattern))) // the pattern is good
		all = append(all, paths...)
	}
	return all
}

// keepPublic puts the public half beside a seed that is about to be encrypted.
func (a *Authority) keepPublic(path string, seed []byte) error {
	pair, err := pairOf(path, seed)
	if err != nil {
		return err
	}
	public, err := pair.PublicKey()
	if err != nil || nkeys.Prefix(public) == nkeys.PrefixByteUnknown {
		return fleet.Errorf(fleet.Invalid, "%s does not hold a key", path)
	}
	return writeFile(pubPath(path), []byte(public+"\n"))
}

// InTheClear are the creds files in the directory, whose private keys
// encryption leaves readable.
func (a *Authority) InTheClear() []string {
	paths, _ := filepath.Glob(filepath.Join(a.dir, "tenants", "*", "users", "*"+credsSuffix)) // the pattern is good
	return paths
}

// CheckPassphrase reports whether a passphrase opens the directory's seeds.
func (a *Authority) CheckPassphrase() error {
	if _, err := os.Stat(a.vault.recipientPath()); err != nil {
		return nil
	}
	_, err := a.vault.unlock()
	return err
}

// OpenEncrypted makes a directory whose seeds are encrypted from the first on.
func OpenEncrypted(dir string, o Options, passphrase []byte) (*Authority, error) {
	a, err := unopened(dir, o)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := a.vault.setPassphrase(passphrase); err != nil {
		return nil, err
	}
	return a, a.updateLocked(nil)
}
