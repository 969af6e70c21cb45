package nginx

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"fairlead/pkg/host"
)

// What became of a file.
const (
	changeEdited   = "edited"
	changeMissing  = "missing"
	changeExtra    = "extra"
	changeMode     = "mode"     // of a file that has its content still
	changeOwner    = "owner"    // the same
	changeReplaced = "replaced" // by something that is no regular file, or no directory
	changeLink     = "link"     // the commit point: it names another file, or is no link
)

// DriftFile is one file that is not as Fairlead left it.
type DriftFile struct {
	Path   string `json:"path"`             // relative to the version's directory; absolute for the link
	Change string `json:"change"`           // edited, missing, extra, mode, owner, replaced or link
	Detail string `json:"detail,omitempty"` // "0644, not 0600"
}

func (f DriftFile) String() string {
	if f.Detail == "" {
		return f.Path + " (" + f.Change + ")"
	}
	return f.Path + " (" + f.Change + ": " + f.Detail + ")"
}

// mostFound is how many differences are listed; a person who unpacked an
// archive into a version has made his point by then.
const mostFound = 1000

// compare finds what differs between a version as it should be and the disk,
// parents before what lies in them. It reads every file, writes nothing,
// follows no link and opens nothing but regular files.
func (s store) compare(m *image) ([]DriftFile, error) {
	var found []DriftFile
	add := func(path, change, format string, args ...any) {
		found = append(found, DriftFile{path, change, fmt.Sprintf(format, args...)})
	}
	switch target, err := os.Readlink(s.link); {
	case errors.Is(err, fs.ErrNotExist):
		add(s.link, changeLink, "it is gone")
	case err != nil:
		add(s.link, changeLink, "it is no link any more")
	case target != s.target(m.version):
		add(s.link, changeLink, "it names %s", target)
	}
	for _, e := range m.entries {
		info, err := os.Lstat(filepath.Join(m.version.Dir, e.path))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			add(e.path, changeMissing, "")
		case err != nil:
			return nil, err
		default:
			change, detail, err := differs(filepath.Join(m.version.Dir, e.path), info, e)
			if errors.Is(err, fs.ErrNotExist) {
				change, detail, err = changeMissing, "", nil // it went while it was read
			}
			if err != nil {
				return nil, err
			}
			if change == changeEdited {
				detail = s.editedIn(m, e.path)
			}
			if change != "" {
				add(e.path, change, "%s", detail)
			}
		}
	}
	extra, err := extras(m)
	found = append(found, extra...)
	slices.SortStableFunc(found, func(a, b DriftFile) int { return cmp.Compare(a.Path, b.Path) })
	return found, err
}

// differs compares one file or directory with what it should be.
func differs(path string, info fs.FileInfo, e entry) (change, detail string, err error) {
	if info.Mode().Type() != e.mode.Type() {
		return changeReplaced, "it is " + host.KindOf(info.Mode()), nil
	}
	if info.Mode().IsRegular() {
		sum, err := sumOf(path)
		if err != nil {
			return "", "", err
		}
		if sum != e.sum {
			return changeEdited, "", nil
		}
	}
	if info.Mode().Perm() != e.mode.Perm() {
		return changeMode, fmt.Sprintf("%#o, not %#o", info.Mode().Perm(), e.mode.Perm()), nil
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && (int(stat.Uid) != e.uid || int(stat.Gid) != e.gid) {
		return changeOwner, fmt.Sprintf("%d:%d, not %d:%d", stat.Uid, stat.Gid, e.uid, e.gid), nil
	}
	return "", "", nil
}

// extras finds what lies in the version and is not part of it; of a directory
// nothing but its name.
func extras(m *image) (found []DriftFile, err error) {
	if info, err := os.Lstat(m.version.Dir); err != nil || !info.IsDir() {
		return nil, nil // said already
	}
	err = filepath.WalkDir(m.version.Dir, func(full string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		path, _ := filepath.Rel(m.version.Dir, full) // both are absolute
		path = filepath.ToSlash(path)
		if _, ok := m.get(path); ok {
			return nil
		}
		if len(found) == mostFound {
			return fs.SkipAll
		}
		f := DriftFile{Path: path, Change: changeExtra}
		if !d.Type().IsRegular() {
			f.Detail = "it is " + host.KindOf(d.Type())
		}
		found = append(found, f)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return found, err
}

// openRegular opens a file that is a regular one when it is opened, not only
// when it was looked at, and never waits for a writer.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is %s", path, host.KindOf(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func sumOf(path string) (string, error) {
	f, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// listed is a few of the files for a line, and the number of the others.
func listed(files []DriftFile) string {
	const few = 3
	names := make([]string, 0, few)
	for _, f := range files[:min(few, len(files))] {
		names = append(names, f.String())
	}
	text := strings.Join(names, ", ")
	if more := len(files) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
