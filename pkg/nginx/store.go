package nginx

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// store is the versions on disk, the link that says which one nginx loads,
// and the record of the last one that was proven to serve.
type store struct {
	state string // holds versions/ and good.json
	link  string // the commit point
	entry string // the file of a version that it leads to
	group int    // of workers
}

// record is good.json.
type record struct {
	Version  string `json:"version"`  // directory under versions/
	Revision uint64 `json:"revision"` // the newest that this version stands for
	// Before are the directories of those that were proven before it, the last
	// one first. Not all are kept.
	Before []string `json:"before,omitempty"`
	Whole  uint64   `json:"whole"` // the newest revision of which everything serves
}

func (s store) versions() string { return filepath.Join(s.state, "versions") }

// stage writes a version and syncs it. What lies there already and is the
// same is used again; what lies there and differs gives way, unless it is the
// linked or the last good one, which nothing ever writes to.
func (s store) stage(m manifest, fill func(dir string) []File) (version, error) {
	inUse := s.inUse()
	for i := 1; ; i++ {
		name := fmt.Sprintf("%d-%s", m.Revision, Short(m.Digest))
		if i > 1 {
			name = fmt.Sprintf("%s.%d", name, i)
		}
		v := version{Name: name, Dir: filepath.Join(s.versions(), name), Manifest: m}
		files := fill(v.Dir)
		v.files = files
		files = together(files, v.Dir)
		v.Manifest.Files = manifestFiles(files)
		if v.holds(files) {
			if err := s.rekeep(v); err != nil {
				return version{}, fleet.Errorf(fleet.Failed, "stage %s: %w", v, err)
			}
			return v, nil
		}
		if slices.Contains(inUse, name) {
			continue
		}
		if err := s.write(v, files); err != nil {
			return version{}, fleet.Errorf(fleet.Failed, "stage %s: %w", v, errors.Join(err, s.discard(v)))
		}
		return v, nil
	}
}

// write puts a version on disk, and its archive. Where it fails, parts of both
// may be there.
func (s store) write(v version, files []File) error {
	// The archive goes first: that of another version of this name, beside files
	// that an agent did not live to archive, would be what drift is healed from.
	if err := errors.Join(os.RemoveAll(filepath.Dir(s.pristineFile(v.Name))), os.RemoveAll(v.Dir)); err != nil {
		return err
	}
	if err := v.write(files, s.group); err != nil {
		return err
	}
	if err := s.keep(v); err != nil {
		return err
	}
	return host.SyncFilesystem(v.Dir)
}

// commit makes nginx load a version from now on. It is durable on return.
func (s store) commit(v version) error {
	if err := s.ours(); err != nil {
		return err
	}
	if err := s.keepForeign(); err != nil {
		return err
	}
	if err := host.Link(s.target(v), s.link); err != nil {
		return fleet.Errorf(fleet.Failed, "commit %s: %w", v, err)
	}
	return nil
}

// target is what the link names for a version.
func (s store) target(v version) string { return filepath.Join(v.Dir, s.entry) }

// ours refuses to replace a configuration that somebody else wrote.
func (s store) ours() error {
	info, err := os.Lstat(s.link)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	if err != nil {
		return fleet.Errorf(fleet.Failed, "commit point: %w", err)
	}
	if s.foreign() && s.permitted() {
		return nil
	}
	return fleet.Errorf(fleet.Conflict, "%s is not Fairlead's: `fairlead adopt` turns it into resources and takes its place, or move it away", s.link)
}

// linked is the version that nginx loads.
func (s store) linked() (version, error) {
	target, err := os.Readlink(s.link)
	if err != nil {
		return version{}, err
	}
	if dir := filepath.Dir(target); filepath.Dir(dir) == s.versions() {
		return s.read(filepath.Base(dir))
	}
	return version{}, fmt.Errorf("%s names %s, which is no version", s.link, target)
}

// good is the last version that was proven to serve, with the newest revision
// that it stands for.
func (s store) good() (version, error) {
	r, err := s.record()
	if err != nil {
		return version{}, err
	}
	v, err := s.read(r.Version)
	v.Manifest.Revision, v.Manifest.Whole = r.Revision, r.Whole
	return v, err
}

func (s store) record() (record, error) {
	var r record
	data, err := os.ReadFile(filepath.Join(s.state, "good.json"))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("good.json: %w", err)
	}
	return r, nil
}

// mostBefore bounds the record.
const mostBefore = 16

// earlier are the versions that were proven before the last good one and can
// be used still, newest first. Where the record of them is lost, those that
// lie on disk are taken: one that was never proven is removed when it fails.
func (s store) earlier() []version {
	r, err := s.record()
	names := r.Before
	if err != nil {
		names = s.onDisk()
	}
	var all []version
	for _, name := range names {
		if name == r.Version {
			continue
		}
		if v, err := readVersion(filepath.Join(s.versions(), name)); err == nil && v.unusable() == "" {
			all = append(all, v)
		}
	}
	return all
}

// onDisk names what lies there, newest first.
func (s store) onDisk() []string {
	entries, _ := os.ReadDir(s.versions())
	var all []version
	for _, entry := range entries {
		if v, err := readVersion(filepath.Join(s.versions(), entry.Name())); err == nil {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b version) int { return b.Manifest.At.Compare(a.Manifest.At) })
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = v.Name
	}
	return names
}

// setGood records that a version serves.
func (s store) setGood(v version) error {
	r := record{Version: v.Name, Revision: v.Manifest.Revision, Whole: v.Manifest.Whole}
	if was, err := s.record(); err == nil {
		r.Before = slices.DeleteFunc(append([]string{was.Version}, was.Before...), func(name string) bool { return name == v.Name })
		r.Before = r.Before[:min(len(r.Before), mostBefore)]
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = host.WriteFile(filepath.Join(s.state, "good.json"), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fleet.Errorf(fleet.Failed, "record the last good version: %w", err)
	}
	// What was permitted is done: the host's own configuration is not to come
	// back by itself, should this record ever be lost.
	_ = os.Remove(s.permitFile())
	_ = os.RemoveAll(filepath.Dir(s.beforeFile()))
	return nil
}

// inUse names the versions that must not be touched.
func (s store) inUse() []string {
	var names []string
	if target, err := os.Readlink(s.link); err == nil {
		names = append(names, filepath.Base(filepath.Dir(target)))
	}
	var r record
	if data, err := os.ReadFile(filepath.Join(s.state, "good.json")); err == nil && json.Unmarshal(data, &r) == nil {
		names = append(names, r.Version)
	}
	return names
}

// collect removes all versions but those in use and the newest keep others.
func (s store) collect(keep int) error {
	entries, err := os.ReadDir(s.versions())
	if err != nil {
		return err
	}
	inUse := s.inUse()
	type other struct { // no more of it than is needed: there are long manifests
		dir      string
		Revision uint64    `json:"revision"`
		At       time.Time `json:"at"`
	}
	var others []other
	var errs []error
	for _, entry := range entries {
		if slices.Contains(inUse, entry.Name()) {
			continue
		}
		v := other{dir: filepath.Join(s.versions(), entry.Name())}
		data, err := os.ReadFile(filepath.Join(v.dir, manifestName))
		if err != nil || json.Unmarshal(data, &v) != nil { // half-written, or no version at all
			errs = append(errs, os.RemoveAll(v.dir))
			continue
		}
		others = append(others, v)
	}
	slices.SortFunc(others, func(a, b other) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), b.At.Compare(a.At))
	})
	for _, v := range others[min(keep, len(others)):] {
		errs = append(errs, os.RemoveAll(v.dir))
	}
	errs = append(errs, s.collectPristine(inUse))
	return errors.Join(errs...)
}

// discard removes a version unless it is in use.
func (s store) discard(v version) error {
	if slices.Contains(s.inUse(), v.Name) {
		return nil
	}
	return errors.Join(os.RemoveAll(v.Dir), os.RemoveAll(filepath.Dir(s.pristineFile(v.Name))))
}
