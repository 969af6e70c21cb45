package nginx

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// version is a staged bundle: a directory that is never changed once its
// manifest is written. One without a manifest was left half-written by a kill.
type version struct {
	Name     string // of the directory, "<revision>-<digest12>"
	Dir      string
	Manifest manifest
	files    []File // as staged; nil for one that was read from disk
}

// manifest lies in the version's directory and is written last.
type manifest struct {
	Revision uint64         `json:"revision"`
	Digest   string         `json:"digest"`
	Local    string         `json:"local"`          // hash of what was filled in for this node
	Host     string         `json:"host,omitempty"` // of the part of it that people and the host set; an older agent wrote none
	Tells    bool           `json:"tells"`          // the status socket answers that hash too
	Workers  int            `json:"workers"`        // to be expected when it serves
	Files    []manifestFile `json:"files"`
	At       time.Time      `json:"at"`

	// Whole is the newest revision of which everything serves: older than
	// Revision where some resource is held back. The record of the last good
	// version knows it.
	Whole uint64 `json:"-"`
}

// manifestName is the manifest's own name in the version's directory.
const manifestName = "manifest.json"

type manifestFile struct {
	Path   string      `json:"path"`
	Mode   fs.FileMode `json:"mode"`
	SHA256 string      `json:"sha256"` // of the file as it lies on disk
	Source string      `json:"source"` // SHA-256 of the file as it was rendered, before paths of this version were filled in
	Owner  string      `json:"owner,omitempty"`
	// Bundled is the content in the bundle, where staging filled something in.
	Bundled []byte `json:"bundled,omitempty"`
	// Parts are the files of the bundle that lie together in this one, in order;
	// of each the hash is that of its own lines.
	Parts []manifestFile `json:"parts,omitempty"`
	Lines int            `json:"lines,omitempty"` // of a part
}

func (v version) conf() string { return filepath.Join(v.Dir, "nginx.conf") }

func (v version) String() string {
	return fmt.Sprintf("revision %d (%s)", v.Manifest.Revision, Short(v.Manifest.Digest))
}

// readVersion reads the manifest in a version's directory.
func readVersion(dir string) (version, error) {
	v := version{Name: filepath.Base(dir), Dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err == nil {
		err = json.Unmarshal(data, &v.Manifest)
	}
	if err != nil {
		return version{}, fmt.Errorf("version %s: %w", v.Name, err)
	}
	return v, nil
}

// forWorkers is the mode of a file that workers read while they serve: their
// group may. All other files are read by the master as it starts.
const forWorkers fs.FileMode = 0o640

// write puts the files on disk, the manifest last. It is durable after a sync.
// Files for workers belong to their group, and directories on the way to them
// let everybody pass, though not look.
func (v version) write(files []File, group int) error {
	for _, f := range files {
		if !filepath.IsLocal(f.Path) {
			return fmt.Errorf("file %q of the bundle lies outside of it", f.Path)
		}
		path := filepath.Join(v.Dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Content, f.Mode.Perm()); err != nil {
			return err
		}
		if f.Mode.Perm() == forWorkers {
			if err := share(path, group, filepath.Dir(path), v.Dir, filepath.Dir(v.Dir)); err != nil {
				return err
			}
		}
	}
	data, err := json.MarshalIndent(v.Manifest, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(v.Dir, manifestName), append(data, '\n'), 0o600)
}

// share lets a group read a file and pass the directories above it.
func share(path string, group int, dirs ...string) error {
	if os.Geteuid() == 0 {
		if err := os.Chown(path, -1, group); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := os.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	return nil
}

// holds says whether the files on disk are these, complete and unchanged.
func (v version) holds(files []File) bool {
	on, err := readVersion(v.Dir)
	if err != nil || on.Manifest.Digest != v.Manifest.Digest || on.Manifest.Local != v.Manifest.Local {
		return false
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(v.Dir, f.Path))
		if err != nil || !bytes.Equal(data, f.Content) {
			return false
		}
	}
	return true
}

// bundle is what the version was staged from, with the secrets as they were
// opened then. The error says that files were changed since.
func (v version) bundle() (Bundle, error) {
	var opened, sealed []File
	add := func(f manifestFile, data []byte) {
		file := File{Path: f.Path, Mode: f.Mode, Owner: f.Owner, Content: f.Bundled}
		if data != nil {
			file.Content, file.bundled = data, f.Bundled
		}
		opened = append(opened, file)
		if f.Bundled != nil {
			file.Content = f.Bundled
		}
		sealed = append(sealed, file)
	}
	for _, f := range v.Manifest.Files {
		if f.Path == includeFile {
			continue // made of the others by staging
		}
		var data []byte
		if f.Bundled == nil || !rendered(File{Path: f.Path, Owner: f.Owner}) {
			var err error
			data, err = os.ReadFile(filepath.Join(v.Dir, f.Path))
			if err == nil && hashOfBytes(data) != f.SHA256 {
				err = fmt.Errorf("%s is not what was staged any more", f.Path)
			}
			if err != nil {
				return Bundle{}, fmt.Errorf("%s: %w", v, err)
			}
		}
		if len(f.Parts) == 0 {
			add(f, data)
			continue
		}
		parts, _ := f.apart(data)
		for i, part := range f.Parts {
			if part.Bundled != nil {
				parts[i] = nil // to be filled in anew
			}
			add(part, parts[i])
		}
	}
	b := NewBundle(sealed)
	if b.Digest != v.Manifest.Digest {
		return Bundle{}, fmt.Errorf("%s was staged by another version of the agent", v)
	}
	b.Files = opened
	return b, nil
}

// generation is what the status socket answers while the version serves. A
// version that an older agent staged answers its digest alone.
func (v version) generation() string {
	if !v.Manifest.Tells {
		return v.Manifest.Digest
	}
	return v.Manifest.Digest + " " + v.Manifest.Local
}

// serving says whether a version is more than the one that a new node begins with.
func (v version) serving() bool { return v.Manifest.Revision > 0 }

// unusable says why nginx should not be started with this version: a file is
// gone, or is no file any more (a FIFO would hang nginx). "" when it may.
func (v version) unusable() string {
	if v.Name == "" {
		return "no version was proven yet"
	}
	for _, f := range v.Manifest.Files {
		info, err := os.Lstat(filepath.Join(v.Dir, f.Path))
		if err != nil {
			return err.Error()
		}
		if !info.Mode().IsRegular() {
			return fmt.Sprintf("%s is no regular file", filepath.Join(v.Dir, f.Path))
		}
	}
	return ""
}

func manifestFiles(files []File) []manifestFile {
	all := make([]manifestFile, len(files))
	for i, f := range files {
		all[i] = manifestFile{Path: f.Path, Mode: f.Mode.Perm(), SHA256: hashOfBytes(f.Content), Source: f.source, Owner: f.Owner}
		if f.bundled != nil && !bytes.Equal(f.bundled, f.Content) {
			all[i].Bundled = f.bundled
		}
		if len(f.parts) > 0 {
			all[i].Parts = manifestFiles(f.parts)
			for j, part := range f.parts {
				all[i].Parts[j].Lines = bytes.Count(part.Content, []byte("\n"))
			}
		}
	}
	return all
}
