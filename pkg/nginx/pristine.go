package nginx

import (
	"archive/tar"
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// A version's directory is where hands reach. Beside it, under pristine/, lies
// an archive of what Fairlead put there: what drift is compared with and healed
// from, also with no link and after the directory was deleted as a whole. One
// file costs less than a second copy of each, and it shares no inode with
// anything that a person edits.

// entry is one file or directory of a version as it should be.
type entry struct {
	path     string // relative to the version's directory, with slashes; "." is that itself
	mode     fs.FileMode
	uid, gid int
	sum      string // hex SHA-256, "" for a directory
	content  []byte // where it was asked for; of manifest and policy always
}

// image is a version as it should be.
type image struct {
	version version
	entries []entry // parents before what lies in them
	byPath  map[string]int
}

func (m *image) add(e entry) {
	m.byPath[e.path] = len(m.entries)
	m.entries = append(m.entries, e)
}

// drift is what the version's policy says of drift, as it was when it was
// written: the file itself may be what was changed.
func (m *image) drift() string {
	var p fleet.NodePolicy
	if e, ok := m.get(policyFile); ok {
		_ = json.Unmarshal(e.content, &p) // written by policyText
	}
	return cmp.Or(p.Drift, fleet.DriftEnforce)
}

func (m *image) get(path string) (entry, bool) {
	i, ok := m.byPath[path]
	if !ok {
		return entry{}, false
	}
	return m.entries[i], true
}

func (s store) pristineDir() string { return filepath.Join(s.state, "pristine") }
func (s store) pristineFile(name string) string {
	return filepath.Join(s.pristineDir(), name, "files.tar")
}

// secretFile is where a private key or a list of users of a version lies: those
// are in closed files of their own, never inside of another.
func (s store) secretFile(name, path string) string {
	return filepath.Join(s.pristineDir(), name, path)
}

func isSecret(path string) bool {
	return strings.HasSuffix(path, ".key") || strings.HasPrefix(path, usersDir)
}

func (s store) hasPristine(name string) bool {
	_, err := os.Lstat(s.pristineFile(name))
	return err == nil
}

// keep archives a version that was just written, or that is found whole. It is
// durable after a sync of the file system.
func (s store) keep(v version) error {
	path := s.pristineFile(v.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(f, 1<<18)
	w := tar.NewWriter(buffer)
	err = errors.Join(s.archive(w, v), w.Close(), buffer.Flush(), f.Close())
	if err != nil {
		return fmt.Errorf("archive %s: %w", v.Name, err)
	}
	return os.Rename(path+".new", path)
}

// archive writes the manifest first, so that it is found without reading the rest.
func (s store) archive(w *tar.Writer, v version) error {
	sums := make(map[string]string, len(v.Manifest.Files))
	for _, f := range v.Manifest.Files {
		sums[f.Path] = f.SHA256
	}
	put := func(path string) error {
		full := filepath.Join(v.Dir, path)
		info, err := os.Lstat(full)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no owner", path)
		}
		h := &tar.Header{Name: path, Mode: int64(info.Mode().Perm()), Uid: int(stat.Uid), Gid: int(stat.Gid), Typeflag: tar.TypeDir}
		var content []byte
		switch {
		case info.Mode().IsRegular():
			if content, err = os.ReadFile(full); err != nil {
				return err
			}
			if want, ok := sums[path]; ok && want != hashOfFile(content) {
				return fmt.Errorf("%s is not what was written", path)
			}
			if h.Typeflag = tar.TypeReg; isSecret(path) {
				h.PAXRecords = map[string]string{secretSum: hashOfFile(content)}
				if err := s.keepSecret(v.Name, path, content); err != nil {
					return err
				}
				content = nil
			}
			h.Size = int64(len(content))
		case !info.IsDir():
			return fmt.Errorf("%s is neither file nor directory", path)
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}
	if err := put(manifestName); err != nil {
		return err
	}
	return filepath.WalkDir(v.Dir, func(full string, _ fs.DirEntry, err error) error {
		path, _ := filepath.Rel(v.Dir, full) // both are absolute
		if err != nil || path == manifestName {
			return err
		}
		return put(filepath.ToSlash(path))
	})
}

// secretSum is the record of an archive that stands for a secret in a file of its own.
const secretSum = "FAIRLEAD.sha256"

func (s store) keepSecret(name, path string, content []byte) error {
	to := s.secretFile(name, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// image reads the archive of a version; the contents too where they are
// wanted. Every file is checked against the manifest.
func (s store) image(name string, contents bool) (*image, error) {
	f, err := os.Open(s.pristineFile(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &image{byPath: make(map[string]int)}
	for r := tar.NewReader(bufio.NewReaderSize(f, 1<<18)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		e := entry{path: h.Name, mode: fs.FileMode(h.Mode).Perm(), uid: h.Uid, gid: h.Gid}
		if h.Typeflag == tar.TypeDir {
			e.mode |= fs.ModeDir
		} else {
			content, err := io.ReadAll(r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
			e.sum = hashOfFile(content)
			if sum, apart := h.PAXRecords[secretSum]; apart { // an older agent kept lists of users in the archive itself
				if e.sum = sum; contents {
					if content, err = os.ReadFile(s.secretFile(name, e.path)); err != nil {
						return nil, err
					}
				}
			}
			if contents || e.path == manifestName || e.path == policyFile {
				e.content = content
			}
		}
		m.add(e)
	}
	if m.version, err = s.archived(name, m); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return m, nil
}

func (s store) archived(name string, m *image) (version, error) {
	v := version{Name: name, Dir: filepath.Join(s.versions(), name)}
	first, _ := m.get(manifestName)
	if err := json.Unmarshal(first.content, &v.Manifest); err != nil {
		return v, err
	}
	for _, f := range v.Manifest.Files {
		if e, ok := m.get(f.Path); !ok || e.sum != f.SHA256 {
			return v, fmt.Errorf("%s is damaged", f.Path)
		}
	}
	return v, nil
}

// read finds what a version is: by its archive, which nobody edits, else by
// the manifest in its directory.
func (s store) read(name string) (version, error) {
	if v, err := s.readArchived(name); err == nil {
		return v, nil
	}
	return readVersion(filepath.Join(s.versions(), name))
}

// readArchived reads no more than the manifest.
func (s store) readArchived(name string) (version, error) {
	f, err := os.Open(s.pristineFile(name))
	if err != nil {
		return version{}, err
	}
	defer f.Close()
	r := tar.NewReader(f)
	h, err := r.Next()
	if err != nil || h.Name != manifestName {
		return version{}, fmt.Errorf("%s has no manifest: %v", f.Name(), err)
	}
	v := version{Name: name, Dir: filepath.Join(s.versions(), name)}
	return v, json.NewDecoder(r).Decode(&v.Manifest)
}

// collectPristine removes the archives of versions that are gone.
func (s store) collectPristine(inUse []string) error {
	entries, err := os.ReadDir(s.pristineDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if _, err := os.Lstat(filepath.Join(s.versions(), e.Name())); err == nil || slices.Contains(inUse, e.Name()) {
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(s.pristineDir(), e.Name())))
	}
	return errors.Join(errs...)
}

func hashOfFile(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// rekeep archives a version that has no archive yet, such as one of an older
// Fairlead, where it is whole.
func (s store) rekeep(v version) error {
	if s.hasPristine(v.Name) {
		return nil
	}
	if err := s.keep(v); err != nil {
		return err
	}
	return host.SyncFilesystem(s.pristineDir())
}
