package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// accountsEvery is how often brokers of a cluster compare the accounts that
// they know: how long one that was away, while a user was revoked, may still
// take that user after its return. The comparison is one small message.
const accountsEvery = 5 * time.Second

// accountTime is how long a broker asks the others for an account that it does
// not know, while its user waits for a refusal.
const accountTime = 500 * time.Millisecond

// accountsDir is where a broker keeps the accounts' JWTs.
func (c Config) accountsDir() string { return filepath.Join(c.StoreDir, "accounts") }

// accounts is nats-server's full resolver: account JWTs that the system user
// pushes (bus.PushAccount) reach a running broker and its whole cluster, and
// are kept. Those that the broker was given are stored where they are newer.
func (c Config) accounts() (*server.DirAccResolver, error) {
	if err := c.dropForeignAccounts(); err != nil {
		return nil, fmt.Errorf("accounts below %s: %w", c.StoreDir, err)
	}
	r, err := server.NewDirAccResolver(c.accountsDir(), 0, accountsEvery, server.RenameDeleted, server.FetchTimeout(accountTime))
	if err != nil {
		return nil, fmt.Errorf("accounts below %s: %w", c.StoreDir, err)
	}
	for key, text := range c.Server.Accounts {
		if err := r.Store(key, text); err != nil {
			r.Close()
			return nil, fmt.Errorf("store account %s: %w", key, err)
		}
	}
	return r, nil
}

// dropForeignAccounts removes what is not the operator's, such as a file that
// a power cut left half written: nats-server takes pushed JWTs by their own
// signature, and would hold one of another operator to be newer for ever.
func (c Config) dropForeignAccounts() error {
	entries, err := os.ReadDir(c.accountsDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		key, found := strings.CutSuffix(e.Name(), ".jwt")
		if !found {
			continue
		}
		path := filepath.Join(c.accountsDir(), e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if c.Server.Issued(key, string(text)) {
			continue
		}
		c.Logger.Warn("an account that is not the operator's is not taken", "file", path)
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
