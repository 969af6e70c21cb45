package broker

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/identity"
)

// nats-server takes what a stream may hold at most, and a tenant's quota, for
// room that is promised: it refuses a stream, and shuts a tenant out, once the
// sum is beyond its bound. That bound follows from the disk, which may have
// less at each start, so what was promised before has to fit always.

// spare is what the bound leaves for new streams when all else is promised;
// those without a bound of their own count as one byte.
const spare = 1 << 20

// unbounded is beyond all disks. Where tenants have quotas these are the bounds,
// and may promise more than there is, as they are raised and made while the
// broker runs.
const unbounded = 1 << 50

// bound sets how many bytes are stored at most, and warns where the disk has
// less than was promised.
func (c *Config) bound() error {
	used, free, err := disk(c.StoreDir)
	if err != nil {
		return err
	}
	if free < 1<<30 {
		c.Logger.Warn("little disk space for the broker", "store", c.StoreDir, "freeMiB", free>>20)
	}
	reserved, quotas := c.reserved(), c.quotas()
	if promised := max(reserved, quotas); promised > used+free {
		c.Logger.Warn("the disk has less than streams or quotas may take: what forwarded logs may take says `fairlead station --logs-bytes`, a quota `fairlead tenant set`",
			"store", c.StoreDir, "hasMiB", (used+free)>>20, "promisedMiB", promised>>20)
	}
	if c.MaxStore == 0 {
		c.MaxStore = used + free/4*3
	}
	c.MaxStore = max(c.MaxStore, reserved+spare)
	if quotas > 0 && c.Cluster == nil { // a cluster does not count them
		c.MaxStore, c.maxMemory = unbounded, unbounded
	}
	return nil
}

// disk says how many bytes the store has, and how many more its disk could take.
func disk(dir string) (used, free int64, err error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			used += info.Size()
		}
		return nil
	})
	return used, int64(stat.Bavail) * int64(stat.Bsize), err
}

// reserved is what the streams in the store may hold at most, where they have a
// bound. One whose description cannot be read counts nothing.
func (c *Config) reserved() (sum int64) {
	files, _ := filepath.Glob(filepath.Join(c.StoreDir, server.JetStreamStoreDir, "*", "streams", "*", server.JetStreamMetaFile))
	for _, file := range files {
		var stream server.FileStreamInfo
		if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &stream) == nil {
			sum += max(stream.MaxBytes, 0)
		}
	}
	return sum
}

// quotas is the sum of the bytes that tenants may store who have a quota of
// them: of the accounts that the broker was given, and those that it kept.
func (c *Config) quotas() (sum int64) {
	accounts := map[string]string{}
	files, _ := filepath.Glob(filepath.Join(c.accountsDir(), "*.jwt"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			accounts[filepath.Base(file)] = string(text)
		}
	}
	for key, text := range c.Server.Accounts {
		if _, kept := accounts[key+".jwt"]; !kept {
			accounts[key+".jwt"] = text
		}
	}
	for _, text := range accounts {
		if q, err := identity.QuotaOf(text); err == nil {
			sum += q.Storage
		}
	}
	return sum
}
