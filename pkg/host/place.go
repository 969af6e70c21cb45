package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// Placing is a file to put into a directory that others may write to: whatever
// they do there, nothing outside of it is touched.
type Placing struct {
	Root     *os.Root
	Name     string // relative to Root
	Mode     fs.FileMode
	UID, GID int // -1 leaves it as it is
}

// NotAFileError says that something else than a file lies in the way.
type NotAFileError struct{ What string }

func (e NotAFileError) Error() string { return "there is " + e.What + " of that name" }

// Open opens the file that is there, nil where there is none. The error is a
// NotAFileError where something else is.
func (p Placing) Open() (*os.File, error) {
	info, err := p.Root.Lstat(p.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, NotAFileError{KindOf(info.Mode())}
	}
	// Somebody may put a pipe in its place this moment: that shall not hold anybody.
	file, err := p.Root.OpenFile(p.Name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = NotAFileError{KindOf(info.Mode())}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Adjust gives a file that is there the mode and owner. It reports whether they
// were others.
func (p Placing) Adjust(file *os.File) (changed bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	owner, mode := p.differs(info)
	if owner {
		if err := file.Chown(p.UID, p.GID); err != nil {
			return false, err
		}
	}
	if mode {
		return true, file.Chmod(p.Mode)
	}
	return owner, nil
}

func (p Placing) differs(info fs.FileInfo) (owner, mode bool) {
	if is, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = p.UID >= 0 && int(is.Uid) != p.UID || p.GID >= 0 && int(is.Gid) != p.GID
	}
	return owner, info.Mode() != p.Mode
}

// Shared reports whether Adjust would change a file that has more names than this
// one. They may lie outside of Root, where somebody linked it from.
func (p Placing) Shared(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	owner, mode := p.differs(info)
	is, ok := info.Sys().(*syscall.Stat_t)
	return (owner || mode) && ok && is.Nlink > 1, nil
}

// Beside is another name in the file's directory, relative to Root.
func (p Placing) Beside(name string) string { return path.Join(path.Dir(p.Name), name) }

// Put puts content in the file's place in one step that nothing can halve, makes
// directories that lack, and returns once it is on disk. check is asked when all
// of it is written and before it takes its place. temporary is a name beside it,
// see Beside, that nobody else uses: what an earlier try left under it is removed.
func (p Placing) Put(ctx context.Context, content io.Reader, temporary string, check func() error) (err error) {
	dir := path.Dir(p.Name)
	if err := p.Root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := p.Root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := p.Root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = p.Root.Remove(temporary)
		}
	}()
	if _, err := io.Copy(file, Cancellable(ctx, content)); err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	if _, err := p.Adjust(file); err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if existing, err := p.Open(); err != nil { // once more: it may be another since
		return err
	} else if existing != nil {
		_ = existing.Close()
	}
	if err := p.Root.Rename(temporary, p.Name); err != nil {
		return err
	}
	at, err := p.Root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(at.Sync(), at.Close())
}

// RemoveFile removes a file below a directory, to whatever else lies there nothing happens.
// No link leads out of the directory. That there is no such file is no error.
func RemoveFile(dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(name)
	if err == nil && info.Mode().IsRegular() {
		err = root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Cancellable is a reader that ends with ctx's error when ctx does.
func Cancellable(ctx context.Context, r io.Reader) io.Reader { return cancellable{ctx, r} }

type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Room is what a file system has.
type Room struct {
	Free   uint64 // bytes, for users that are not root
	Device uint64 // two directories of the same one share them
}

// RoomOf is the room of the file system that holds a directory.
func RoomOf(dir string) (Room, error) {
	var fs unix.Statfs_t
	var file unix.Stat_t
	if err := errors.Join(unix.Statfs(dir, &fs), unix.Stat(dir, &file)); err != nil {
		return Room{}, fmt.Errorf("room of %s: %w", dir, err)
	}
	return Room{Free: fs.Bavail * uint64(fs.Bsize), Device: file.Dev}, nil
}
