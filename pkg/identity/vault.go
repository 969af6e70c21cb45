package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/armor"

	"fairlead/pkg/fleet"
)

// sealedSuffix marks a secret that is encrypted.
const sealedSuffix = ".age"

// scryptWork is the cost of one try of a passphrase, as a power of two: about
// a second. age's own default.
var scryptWork = 18

// vault keeps the secrets of an identity directory: each in the clear at its
// path, mode 0600, or encrypted beside it as path.age where the directory has
// a passphrase. The files are age's: an identity that opens all of them lies in
// passphrase.age, encrypted with the passphrase itself, so that it is asked for
// and worked out once. `age -d -i passphrase.age X.seed.age` opens them too.
type vault struct {
	dir string
	ask func() ([]byte, error) // the passphrase; nil where nobody can be asked
	// reading says that nothing is to be made.
	reading bool

	mu       sync.Mutex
	identity *age.X25519Identity // once the passphrase was given
}

func (v *vault) lockPath() string      { return filepath.Join(v.dir, "passphrase.age") }
func (v *vault) recipientPath() string { return filepath.Join(v.dir, "passphrase.pub") }

// recipient is whom secrets are encrypted to, nil where the directory has no
// passphrase.
func (v *vault) recipient() (*age.X25519Recipient, error) {
	text, err := readFile(v.recipientPath())
	if text == nil || err != nil {
		return nil, err
	}
	r, err := age.ParseX25519Recipient(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.recipientPath(), err)
	}
	return r, nil
}

// sealed reports whether the directory has a passphrase.
func (v *vault) sealed() bool {
	_, err := os.Stat(v.recipientPath())
	return err == nil
}

// has reports whether a secret is there, in the clear or encrypted.
func (v *vault) has(path string) bool {
	for _, p := range []string{path, path + sealedSuffix} {
		if _, err := os.Stat(p); err == nil {
			return true
		}
	}
	return false
}

// read is a secret's text, nil where there is none. Where it is encrypted and
// the passphrase is missing or wrong the error is Refused.
func (v *vault) read(path string) ([]byte, error) {
	data, err := readFile(path)
	if data != nil || err != nil {
		return data, err
	}
	if data, err = readFile(path + sealedSuffix); data == nil || err != nil {
		return nil, err
	}
	identity, err := v.unlock()
	if err != nil {
		return nil, err
	}
	if data, err = unseal(data, identity); err != nil {
		return nil, fmt.Errorf("%s%s: %w", path, sealedSuffix, err)
	}
	return data, nil
}

// write puts a secret in its place, encrypted where the directory has a
// passphrase, and leaves no other copy.
func (v *vault) write(path string, data []byte) error {
	recipient, err := v.recipient()
	if err != nil {
		return err
	}
	if recipient == nil {
		return writeFile(path, data)
	}
	text, err := seal(data, recipient)
	if err != nil {
		return fmt.Errorf("encrypt %s: %w", path, err)
	}
	if err := writeFile(path+sealedSuffix, text); err != nil {
		return err
	}
	return removeFile(path)
}

// remove removes a secret, however it is kept.
func (v *vault) remove(path string) error {
	return errors.Join(removeFile(path), removeFile(path+sealedSuffix))
}

// unlock asks for the passphrase once.
func (v *vault) unlock() (*age.X25519Identity, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.identity != nil {
		return v.identity, nil
	}
	text, err := os.ReadFile(v.lockPath())
	if err != nil {
		return nil, fmt.Errorf("the key that opens the seeds: %w", err)
	}
	if v.ask == nil {
		return nil, fleet.Errorf(fleet.Refused, "the seeds in %s are encrypted: give the passphrase", v.dir)
	}
	passphrase, err := v.ask()
	if err != nil {
		return nil, err
	}
	opener, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, fleet.Errorf(fleet.Refused, "the seeds in %s are encrypted, and the passphrase is empty", v.dir)
	}
	opened, err := unseal(text, opener)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, fleet.Errorf(fleet.Refused, "the passphrase of %s is another one", v.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.lockPath(), err)
	}
	if v.identity, err = age.ParseX25519Identity(strings.TrimSpace(string(opened))); err != nil {
		return nil, fmt.Errorf("%s: %w", v.lockPath(), err)
	}
	return v.identity, nil
}

// setPassphrase gives the directory a passphrase, or another one. What lies
// there in the clear is not touched.
func (v *vault) setPassphrase(passphrase []byte) error {
	if len(passphrase) < minPassphrase {
		return fleet.Errorf(fleet.Invalid, "the passphrase has %d characters: use at least %d", len(passphrase), minPassphrase)
	}
	if v.sealed() {
		if _, err := v.unlock(); err != nil {
			return err
		}
	} else {
		made, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		v.mu.Lock()
		v.identity = made
		v.mu.Unlock()
	}
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return err
	}
	recipient.SetWorkFactor(scryptWork)
	text, err := seal([]byte(v.identity.String()+"\n"), recipient)
	if err != nil {
		return err
	}
	// The recipient last: until it is there nothing is encrypted.
	if err := writeFile(v.lockPath(), text); err != nil {
		return err
	}
	return writeFile(v.recipientPath(), []byte(v.identity.Recipient().String()+"\n"))
}

// minPassphrase is the fewest bytes of a passphrase that is taken.
const minPassphrase = 8

func seal(data []byte, to age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close(), a.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unseal(text []byte, by age.Identity) ([]byte, error) {
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(text)), by)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
