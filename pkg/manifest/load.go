package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// MaxFile is the most that one file may hold, in bytes. A ConfigFile holds at
// most 1 MiB and the largest real manifests a few hundred kilobytes.
const MaxFile = 4 << 20

// stdin is how standard input is called in faults.
const stdin = "stdin"

// Load reads files, directories and "-", which is standard input. Of a
// directory it reads the files *.yaml, *.yml and *.json in the order of their
// names, but neither hidden ones nor subdirectories. A file that is given
// twice is read once.
//
// The error is fleet.Faults with all faults of all files, the Set then holds
// what could be read.
func Load(paths ...string) (Set, error) {
	var r reader
	if len(paths) == 0 {
		r.fault("", 0, "name a file, a directory, or - for standard input")
	}
	for _, path := range paths {
		r.path(path)
	}
	return r.result()
}

// Read is Load for one stream; name stands for the file in faults.
func Read(name string, in io.Reader) (Set, error) {
	var r reader
	r.stream(name, in)
	return r.result()
}

// reader gathers documents and faults over all files.
type reader struct {
	set    Set
	faults fleet.Faults
	files  []string // in the order of reading
}

func (r *reader) fault(file string, line int, format string, args ...any) {
	r.faults = append(r.faults, fleet.Fault{File: file, Line: line, Message: fmt.Sprintf(format, args...)})
}

// result checks what only the whole set shows and sorts the faults of each file by line.
func (r *reader) result() (Set, error) {
	r.set.unique(&r.faults)
	order := func(f fleet.Fault) int { return slices.Index(r.files, f.File) }
	slices.SortStableFunc(r.faults, func(a, b fleet.Fault) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Line, b.Line))
	})
	return r.set, r.faults.Err()
}

func (r *reader) path(path string) {
	if path == "" {
		r.fault("", 0, "a file name is empty: name a file, a directory, or - for standard input")
		return
	}
	if path != "-" {
		path = filepath.Clean(path)
	}
	if slices.Contains(r.files, path) {
		return
	}
	r.files = append(r.files, path)
	if path == "-" {
		r.stream(stdin, os.Stdin)
		return
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		r.fault(path, 0, "%s", plain(err))
	case info.IsDir():
		r.directory(path)
	default:
		r.file(path)
	}
}

func (r *reader) directory(dir string) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		r.fault(dir, 0, "%s", plain(err))
		return
	}
	found := false
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		if strings.HasPrefix(e.Name(), ".") {
			continue // an editor's lock or swap file
		}
		path := filepath.Join(dir, e.Name())
		switch info, err := os.Stat(path); {
		case err != nil:
			r.fault(path, 0, "%s", plain(err))
			found = true
		case info.IsDir():
		case !info.Mode().IsRegular():
			r.fault(path, 0, "is not a regular file")
			found = true
		default:
			found = true
			r.path(path)
		}
	}
	if !found {
		r.fault(dir, 0, "holds no *.yaml, *.yml or *.json file (subdirectories are not read): "+
			"name the directory that has them, or a file")
	}
}

func (r *reader) file(path string) {
	f, err := os.Open(path)
	if err != nil {
		r.fault(path, 0, "%s", plain(err))
		return
	}
	defer f.Close()
	r.stream(path, f)
}

func (r *reader) stream(name string, in io.Reader) {
	data, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	switch {
	case err != nil:
		r.fault(name, 0, "%s", plain(err))
	case len(data) > MaxFile:
		r.fault(name, 0, "is larger than %d MiB: split it", MaxFile>>20)
	default:
		r.text(name, data)
	}
}

// plain is an error of the file system without the path, which the fault already names.
func plain(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file or directory"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	}
	return err.Error()
}
