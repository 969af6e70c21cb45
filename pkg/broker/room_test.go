package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"fairlead/pkg/broker"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// logsBytes are what LOGS may take.
func logsBytes(t *testing.T, s *site) int64 {
	t.Helper()
	return stream(t, s.connect(t, "alice", subjects.Admin), subjects.Logs).CachedInfo().Config.MaxBytes
}

// An agent keeps what nginx's workers read beside it.
func TestWhatABrokerKeepsIsClosedAndWhatIsAboveItIsNot(t *testing.T) {
	data := filepath.Join(t.TempDir(), "fairlead")
	startOf(t, authority(t, filepath.Join(data, "identity"), identity.Options{}), func(c *broker.Config) { c.StoreDir = filepath.Join(data, "broker") })
	alone := filepath.Join(t.TempDir(), "fairlead")
	start(t, func(c *broker.Config) { c.StoreDir = filepath.Join(alone, "broker") })
	for dir, want := range map[string]os.FileMode{data: 0o755, alone: 0o755, data + "/identity": 0o700, data + "/broker": 0o700, alone + "/broker": 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", dir, info.Mode(), err, want)
		}
	}
}

// nats-server counts what a stream that is there reserves once more when
// somebody asks to create it.
func TestASecondStartFindsRoomForWhatIsThere(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.MaxStore = 12 << 30 })
	for range 2 {
		s.ensureStorage(t)
		if n := logsBytes(t, s); n != 10<<30 {
			t.Errorf("logs may take %d bytes", n)
		}
	}
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c = s.config })
	again.ensureStorage(t)
	if n := logsBytes(t, again); n != 10<<30 {
		t.Errorf("after a restart logs may take %d bytes", n)
	}
}

func TestLogsTakeWhatThereIsRoomFor(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.MaxStore = 4 << 30 })
	for range 2 {
		s.ensureStorage(t)
		if n := logsBytes(t, s); n != 10<<30/8 {
			t.Errorf("logs may take %d bytes", n)
		}
	}
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c, c.MaxStore = s.config, 30<<30 })
	again.ensureStorage(t)
	if n := logsBytes(t, again); n != 10<<30 {
		t.Errorf("on a larger disk logs may take %d bytes", n)
	}
}

// Somebody else has filled the disk meanwhile: less than the streams were promised.
func TestABrokerWithLessThanItPromisedGoesOn(t *testing.T) {
	s := start(t, func(c *broker.Config) { c.MaxStore = 12 << 30 })
	s.ensureStorage(t)
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c, c.MaxStore = s.config, 1<<30 })
	again.ensureStorage(t)
	if _, err := again.connect(t, "alice", subjects.Admin).Request("ship1.command.reload.nginx", []byte("{}"), patience); err != nil {
		t.Error(err)
	}
}

func TestQuotasBeyondTheDiskLockNoTenantOut(t *testing.T) {
	dir := t.TempDir()
	main := authority(t, dir, identity.Options{})
	if err := main.SetQuota(identity.Quota{Storage: 64 << 30}); err != nil {
		t.Fatal(err)
	}
	shop, err := identity.CreateTenant(dir, identity.Options{Tenant: "shop"}, identity.Quota{Storage: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	s := startOf(t, authority(t, dir, identity.Options{}), func(c *broker.Config) { c.MaxStore = 1 << 30 })
	s.ensureStorage(t)
	ensureStorage(t, s.URL(), shop)
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c = s.config })
	again.ensureStorage(t)
	ensureStorage(t, again.URL(), shop)
	// One that comes while the broker runs.
	late, err := identity.CreateTenant(dir, identity.Options{Tenant: "late"}, identity.Quota{Storage: 1 << 41})
	if err != nil {
		t.Fatal(err)
	}
	again.push(t, late.AccountJWTs()[late.TenantAccount()])
	ensureStorage(t, again.URL(), late)
}

func TestASmallDiskThatOthersFillKeepsNoStationFromItsStreams(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96m"); err != nil {
		t.Logf("no small file system here: %v", err) // only root can make one
		return
	}
	defer func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) }()
	store := filepath.Join(disk, "broker")
	s := start(t, func(c *broker.Config) { c.StoreDir = store })
	s.ensureStorage(t)
	kept := logsBytes(t, s)
	if kept < 4<<20 || kept > 48<<20 {
		t.Errorf("logs may take %d bytes of 96 MiB", kept)
	}
	for _, left := range []int64{32 << 20, 1 << 20, 0} {
		s.stop()
		fill(t, disk, left)
		s = startOf(t, s.Authority, func(c *broker.Config) { *c = s.config; c.Port = 0 })
		s.ensureStorage(t)
		if n := logsBytes(t, s); n != kept {
			t.Errorf("with %d bytes left logs may take %d, before %d", left, n, kept)
		}
		if _, err := s.connect(t, "alice", subjects.Admin).Request("ship1.command.reload.nginx", []byte("{}"), patience); left > 0 && err != nil {
			t.Errorf("with %d bytes left: %v", left, err)
		}
	}
}

// fill leaves a disk so many bytes.
func fill(t *testing.T, disk string, left int64) {
	t.Helper()
	var stat syscall.Statfs_t
	err := syscall.Statfs(disk, &stat)
	if err == nil {
		err = os.WriteFile(filepath.Join(disk, fmt.Sprint("left", left)), make([]byte, int64(stat.Bavail)*stat.Bsize-left), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
