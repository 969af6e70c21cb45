package adopt

import (
	"errors"
	"fmt"
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
		CombineConfigs:     true,
		StopParsingOnError: false,
		DirectiveSources:   []crossplane.MatchFunc{crossplane.DefaultDirectivesMatchFunc},
		LexOptions:         crossplane.LexOptions{},
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
	if len(payload.Config) != 1 {
		return nil, fleet.Errorf(fleet.Internal, "read %s: %d configurations instead of one", path, len(payload.Config))
	}
	c := &Configuration{Dir: filepath.Dir(path), Prefix: prefix, main: payload.Config[0].Parsed}
	left := mostDirectives
	if err := bounded(c.main, &left, mostDepth); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "read %s: %w", path, err)
	}
	return c, nil
}

func bounded(all crossplane.Directives, left *int, depth int) error {
	if depth == 0 {
		return fmt.Errorf("blocks are nested more than %d deep", mostDepth)
	}
	for _, d := range all {
		if *left--; *left < 0 {
			return fmt.Errorf("there are more than %d directives", mostDirectives)
		}
		if err := bounded(d.Block, left, depth-1); err != nil {
			return err
		}
	}
	return nil
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
