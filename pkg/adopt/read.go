package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
)

// Configuration is an nginx configuration with all its includes in place.
type Configuration struct {
	Dir    string // of the main file: what nginx takes relative paths of certificates and includes from
	Prefix string // what it takes all other relative paths from
	main   crossplane.Directives
}

// Bounds of what is read; a configuration beyond them is no longer one that a
// person wrote.
const (
	mostDirectives = 200_000
	mostDepth      = 20
)

// Read parses a configuration as nginx does. Prefix is nginx's --prefix. The
// error is fleet.Faults with file and line of each thing that nginx would not
// take either.
func Read(path, prefix string) (*Configuration, error) {
	path = filepath.Clean(path)
	payload, err := crossplane.Parse(path, &crossplane.ParseOptions{
		Open:             open,
		DirectiveSources: []crossplane.MatchFunc{crossplane.DefaultDirectivesMatchFunc},
	})
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "read %s: %w", path, err)
	}
	var faults fleet.Faults
	for _, e := range payload.Errors {
		f := fleet.Fault{File: e.File, Message: e.Error.Error()}
		if e.Line != nil {
			f.Line = *e.Line
		}
		var parse *crossplane.ParseError
		if errors.As(e.Error, &parse) {
			f.Message = parse.What
		}
		faults = append(faults, f)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	if len(payload.Config) == 0 {
		return nil, fleet.Errorf(fleet.Invalid, "read %s: it is empty", path)
	}
	e := &expansion{files: payload.Config, left: mostDirectives}
	main, err := e.file(0, 0)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "read %s: %w", path, err)
	}
	return &Configuration{Dir: filepath.Dir(path), Prefix: prefix, main: main}, nil
}

// mostFile bounds one file, in bytes.
const mostFile = 4 << 20

// open refuses what reading would wait for, or never end on.
func open(path string) (io.ReadCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Size() > mostFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, mostFile>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if problem := fleet.TextProblem(data); problem != "" {
		return nil, fmt.Errorf("%s %s", path, problem)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// expansion puts what is included in the place of its include. The parser has
// refused files that include each other.
type expansion struct {
	files []crossplane.Config
	left  int // directives that there may be yet
}

func (e *expansion) file(i, depth int) (crossplane.Directives, error) {
	return e.expand(e.files[i].File, e.files[i].Parsed, depth)
}

func (e *expansion) expand(file string, all crossplane.Directives, depth int) (crossplane.Directives, error) {
	if depth > mostDepth {
		return nil, fmt.Errorf("blocks and includes are nested more than %d deep", mostDepth)
	}
	out := crossplane.Directives{}
	for _, d := range all {
		if e.left--; e.left < 0 {
			return nil, fmt.Errorf("there are more than %d directives", mostDirectives)
		}
		if d.Directive == "include" { // also one whose pattern no file matches, as conf.d/*.conf of a fresh host
			for _, i := range d.Includes {
				inner, err := e.file(i, depth+1)
				if err != nil {
					return nil, err
				}
				out = append(out, inner...)
			}
			continue
		}
		c := *d
		c.File = file
		if d.IsBlock() {
			var err error
			if c.Block, err = e.expand(file, d.Block, depth+1); err != nil {
				return nil, err
			}
		}
		out = append(out, &c)
	}
	return out, nil
}

// blocks are the children of all blocks of a name.
func blocks(all crossplane.Directives, name string) crossplane.Directives {
	var found crossplane.Directives
	for _, d := range all {
		if d.Directive == name {
			found = append(found, d.Block...)
		}
	}
	return found
}

// text is a directive as nginx reads it, for notes.
func text(d *crossplane.Directive) string {
	return strings.TrimSpace(d.Directive + " " + strings.Join(d.Args, " "))
}
