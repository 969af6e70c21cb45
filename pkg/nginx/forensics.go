package nginx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fairlead/pkg/host"
)

// Bounds of what is kept of edited files: they are to be read by a person, and
// a disk is not to be filled by whoever can write to a version.
const (
	forensicCopies = 20
	forensicBytes  = 16 << 20 // of all copies
	forensicFile   = 1 << 20  // of one file; the rest of it is lost
)

// forensic is forensic.json, the list of what one copy holds.
type forensic struct {
	At       time.Time   `json:"at"` // by the node's clock
	Version  string      `json:"version"`
	Revision uint64      `json:"revision"`
	Files    []DriftFile `json:"files"`
	Cut      []string    `json:"cut,omitempty"` // not kept as a whole
}

const (
	forensicList = "forensic.json"
	forensicDiff = "changes.diff" // without secrets
)

func (s store) forensics() string { return filepath.Join(s.state, "forensics") }

// preserve copies what differs, before it is healed, into a directory of its
// own under forensics/, for root alone: the files as they were found under
// files/, the list of them, and the difference in words. It returns the
// directory.
func (s store) preserve(m *image, found []DriftFile, changes string) (dir string, err error) {
	if err := os.MkdirAll(s.forensics(), 0o700); err != nil {
		return "", err
	}
	now := time.Now().UTC()
	dir = filepath.Join(s.forensics(), now.Format("20060102T150405.000000Z"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	list := forensic{At: now, Version: m.version.Name, Revision: m.version.Manifest.Revision, Files: found}
	c := copier{to: filepath.Join(dir, "files"), left: forensicBytes / 2}
	for _, f := range found {
		switch f.Change {
		case changeLink:
			c.copy(s.link, "link")
		case changeMissing, changeMode, changeOwner:
		default:
			c.copy(filepath.Join(m.version.Dir, f.Path), f.Path)
		}
	}
	list.Cut = c.cut
	text, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, forensicList), append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, forensicDiff), []byte(changes), 0o600)
	}
	return dir, errors.Join(err, s.thin())
}

// copier copies regular files and what links say, up to its bounds. What
// cannot be copied is named, and does not stand in the way of healing.
type copier struct {
	to   string
	left int64
	cut  []string
}

func (c *copier) copy(from, name string) {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	to := filepath.Join(c.to, name)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	switch {
	case err != nil:
	case info.Mode().IsRegular():
		err = c.file(from, to, name)
	case info.Mode()&fs.ModeSymlink != 0:
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = os.WriteFile(to+".link", []byte(target+"\n"), 0o600)
		}
	case info.IsDir():
		err = c.dir(from, name)
	default:
		c.cut = append(c.cut, name+": it was "+host.KindOf(info.Mode()))
	}
	if err != nil {
		c.cut = append(c.cut, name+": "+err.Error())
	}
}

func (c *copier) dir(from, name string) error {
	entries, err := os.ReadDir(from)
	for i, e := range entries {
		if i == mostFound || c.left <= 0 {
			c.cut = append(c.cut, name+": the rest of the directory")
			break
		}
		c.copy(filepath.Join(from, e.Name()), filepath.Join(name, e.Name()))
	}
	return err
}

func (c *copier) file(from, to, name string) error {
	in, err := openRegular(from)
	if err != nil {
		return err
	}
	defer in.Close()
	most := min(forensicFile, max(c.left, 0))
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if int64(len(data)) > most {
		data = data[:most]
		c.cut = append(c.cut, name+": all but its beginning")
	}
	c.left -= int64(len(data))
	return errors.Join(err, os.WriteFile(to, data, 0o600))
}

// thin removes the oldest copies past the bounds.
func (s store) thin() error {
	dirs, err := s.kept()
	if err != nil {
		return err
	}
	var size int64
	var errs []error
	for i, dir := range dirs {
		size += sizeOf(dir)
		if i >= forensicCopies || i > 0 && size > forensicBytes {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// kept is the directories of all copies, the newest first.
func (s store) kept() ([]string, error) {
	entries, err := os.ReadDir(s.forensics())
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		dirs = append(dirs, filepath.Join(s.forensics(), e.Name()))
	}
	slices.Sort(dirs)
	slices.Reverse(dirs)
	return dirs, nil
}

func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return size
}

// lastChanges is the newest copy's list and difference; fs.ErrNotExist where
// nothing was ever healed.
func (s store) lastChanges() (forensic, string, error) {
	dirs, err := s.kept()
	if err != nil {
		return forensic{}, "", err
	}
	if len(dirs) == 0 {
		return forensic{}, "", fs.ErrNotExist
	}
	var list forensic
	data, err := os.ReadFile(filepath.Join(dirs[0], forensicList))
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return list, "", err
	}
	text, err := os.ReadFile(filepath.Join(dirs[0], forensicDiff))
	return list, string(bytes.ToValidUTF8(text, []byte("?"))), err
}
