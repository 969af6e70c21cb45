package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fairlead/pkg/host"
)

// restore puts back what differs: what hands made goes, what they took comes
// from the archive. The engine's lock is held, and nginx reads these files at
// a reload alone. What was restored when an error comes is right already; the
// next attempt does the rest.
func (s store) restore(m *image, found []DriftFile) error {
	for _, f := range found {
		if f.Path == "." && (f.Change == changeMissing || f.Change == changeReplaced) {
			if err := makeDir(m); err != nil {
				return err
			}
		}
	}
	root, err := os.OpenRoot(m.version.Dir) // nothing below follows a link out of it
	if err != nil {
		return err
	}
	defer root.Close()
	var relink bool
	for _, f := range found {
		switch f.Change {
		case changeLink:
			relink = true
		case changeExtra:
			err = root.RemoveAll(f.Path)
		default:
			e, ok := m.get(f.Path)
			if !ok {
				return fmt.Errorf("%s is not in the archive", f.Path)
			}
			err = restoreOne(root, e, f.Change)
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Path, err)
		}
	}
	if err := host.SyncFilesystem(m.version.Dir); err != nil {
		return err
	}
	if relink {
		return s.relink(m.version)
	}
	return nil
}

// makeDir makes the directory of a version that has none.
func makeDir(m *image) error {
	e, ok := m.get(".")
	if !ok {
		return errors.New("the archive has no directory")
	}
	if err := os.RemoveAll(m.version.Dir); err != nil {
		return err
	}
	if err := os.Mkdir(m.version.Dir, e.mode.Perm()); err != nil {
		return err
	}
	return errors.Join(os.Chmod(m.version.Dir, e.mode.Perm()), os.Lchown(m.version.Dir, e.uid, e.gid))
}

func restoreOne(root *os.Root, e entry, change string) error {
	if change == changeMode || change == changeOwner {
		err := errors.Join(root.Lchown(e.path, e.uid, e.gid), root.Chmod(e.path, e.mode.Perm()))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it lay in what was replaced, and is missing the next time
		}
		return err
	}
	if e.path == "." {
		return nil // made before
	}
	if change == changeReplaced {
		if err := root.RemoveAll(e.path); err != nil {
			return err
		}
	}
	path := e.path
	if e.mode.IsDir() {
		if err := root.Mkdir(path, e.mode.Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return errors.Join(root.Lchown(path, e.uid, e.gid), root.Chmod(path, e.mode.Perm()))
	}
	if hashOfFile(e.content) != e.sum {
		return errors.New("the archive is damaged")
	}
	tmp := strings.TrimPrefix(filepath.Dir(path)+"/", "./") + ".fairlead-healing"
	if err := root.RemoveAll(tmp); err != nil {
		return err
	}
	err := root.WriteFile(tmp, e.content, 0o600)
	if err == nil {
		err = errors.Join(root.Lchown(tmp, e.uid, e.gid), root.Chmod(tmp, e.mode.Perm()))
	}
	if err == nil {
		err = root.Rename(tmp, path)
	}
	if err != nil {
		_ = root.RemoveAll(tmp)
	}
	return err
}

// relink makes the link name a version, whatever stands in its place. It is
// for a link that is known to be Fairlead's; commit refuses what is not.
func (s store) relink(v version) error {
	if info, err := os.Lstat(s.link); err == nil && info.IsDir() {
		if err := os.RemoveAll(s.link); err != nil {
			return err
		}
	}
	return host.Link(s.target(v), s.link)
}
