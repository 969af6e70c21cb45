package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Confinement is what a command sees of the machine: every file, read-only; a
// network of its own that leads nowhere, with a loopback and every address for
// its own; and some directories that are empty, writable and gone with it.
type Confinement struct {
	// Scratch are directories that the command finds empty and may write to,
	// on the same path. One that does not exist is left out. The first one has
	// to exist.
	Scratch []string
	// Overlaid are directories that it finds as they are and may write to.
	Overlaid []string
	// Hosts are names that it resolves; it reaches no server for any other.
	Hosts map[string][]netip.Addr
}

// ErrUnconfined says that this process may not confine a command: it is not
// root, a container takes the right from it, or the kernel is older than 5.12.
var ErrUnconfined = errors.New("a command cannot be confined here")

// RunConfined is Run in a world of the command's own. An error that is
// ErrUnconfined says that the command was not run.
//
// The namespaces are made by a thread that runs the command and ends with it:
// whatever is done to them, this process keeps its own.
func RunConfined(ctx context.Context, c Command, in Confinement) (r Result, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		onThreadOfItsOwn(func() {
			if err = in.enter(); err != nil {
				err = fmt.Errorf("%w: %w", ErrUnconfined, err)
				return
			}
			r, err = Run(ctx, c)
		})
	}()
	<-done
	return r, err
}

// onThreadOfItsOwn runs f on a thread that ends when f has, and is not the
// process's first one: what /proc/self says is of that one.
func onThreadOfItsOwn(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			onThreadOfItsOwn(f) // another one, as this one is held
			runtime.UnlockOSThread()
			close(done)
			return
		}
		defer close(done)
		f()
	}()
	<-done
}

// keep are the capabilities that are left to a confined command: those with
// which a daemon's own test of its configuration looks at files and binds.
var keep = []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_SETGID, unix.CAP_SETUID}

// enter changes this thread's world.
func (in Confinement) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("set up the loopback: %w", err)
	}
	everyAddress()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make all files read-only: %w", err)
	}
	for _, dir := range outermost(in.Scratch) {
		if err := scratch(dir); err != nil {
			return err
		}
	}
	for _, dir := range in.Scratch {
		_ = os.MkdirAll(dir, 0o755) // inside another one; where it is read-only it was not there before
	}
	if err := in.overlay(); err != nil {
		return err
	}
	if err := in.hosts(); err != nil {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(keep, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up capabilities: %w", err)
		}
	}
	return nil
}

// scratch lays an empty file system over a directory, with its owner and mode.
func scratch(dir string) error {
	var info unix.Stat_t
	if err := unix.Stat(dir, &info); err != nil {
		return nil
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	options := fmt.Sprintf("size=64m,mode=%o,uid=%d,gid=%d", info.Mode&0o7777, info.Uid, info.Gid)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("cover %s: %w", dir, err)
	}
	return nil
}

// own is where the confinement keeps what is its own.
func (in Confinement) own(name string) string { return filepath.Join(in.Scratch[0], ".confined-"+name) }

func (in Confinement) overlay() error {
	for i, dir := range outermost(in.Overlaid) {
		upper, work := in.own(fmt.Sprintf("upper%d", i)), in.own(fmt.Sprintf("work%d", i))
		if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
			return err
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
		if err := unix.Mount("overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("overlay %s: %w", dir, err)
		}
	}
	return nil
}

func (in Confinement) hosts() error {
	if len(in.Hosts) == 0 {
		return nil
	}
	text, _ := os.ReadFile("/etc/hosts")
	for _, name := range slices.Sorted(maps.Keys(in.Hosts)) {
		for _, a := range in.Hosts[name] {
			text = fmt.Appendf(text, "\n%s %s\n", a, name)
		}
	}
	file := in.own("hosts")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("give names: %w", err)
	}
	return nil
}

// outermost are the directories that lie in no other one, links resolved.
func outermost(dirs []string) (all []string) {
	var real []string
	for _, dir := range dirs {
		if dir, err := filepath.EvalSymlinks(dir); err == nil && dir != "/" {
			real = append(real, dir)
		}
	}
	slices.Sort(real)
	for _, dir := range real {
		inside := func(outer string) bool { return dir == outer || strings.HasPrefix(dir, outer+"/") }
		if !slices.ContainsFunc(all, inside) {
			all = append(all, dir)
		}
	}
	return all
}

// loopback brings lo up in this thread's network.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// everyAddress lets a socket be bound to an address that this network does not
// have, as it has none of the host's. Without IPv6, or where a container keeps
// the setting read-only, there is nothing to set.
func everyAddress() {
	for _, family := range []string{"ipv4", "ipv6"} {
		_ = os.WriteFile("/proc/sys/net/"+family+"/ip_nonlocal_bind", []byte("1"), 0o644)
	}
}
