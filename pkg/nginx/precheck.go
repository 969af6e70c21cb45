package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// check is everything that is held against a staged version before nginx is
// told of it, the cheap before the dear: what the configuration says, what
// lies on disk, what nginx -t cannot see, and nginx -t.
func (e *Engine) check(ctx context.Context, v version, b Bundle) error {
	if faults := Inspect(b, b.Policy()); len(faults) > 0 {
		return faults
	}
	if err := v.regular(); err != nil {
		return err
	}
	s := surveyOf(v.files)
	if err := e.tooLarge(b, s); err != nil {
		return err
	}
	hosts, faults := resolve(ctx, s.names)
	faults = append(faults, e.unbound(s)...)
	faults = append(faults, e.rekeyed(s)...)
	faults = append(faults, s.strays(b.Policy().Directories)...)
	if len(faults) > 0 {
		return faults
	}
	return e.testAs(ctx, v, b, s, hosts)
}

// regular makes sure that each file of the version is a regular one, reached
// without a symbolic link that leads out of it: nginx opens them as root, and
// waits for ever on a FIFO.
func (v version) regular() error {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return fleet.Errorf(fleet.Failed, "%s: %w", v, err)
	}
	defer root.Close()
	for _, f := range v.Manifest.Files {
		info, err := root.Lstat(f.Path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is %s, not a regular file", f.Path, host.KindOf(info.Mode()))
		}
		if err != nil {
			return &nodeFault{fleet.Errorf(fleet.Failed, "%s: somebody changed it while it was checked: %w", v, err)}
		}
	}
	return nil
}

// strays are files that raw configuration names and that are not what they
// seem: nginx opens them as root. Where they lie was checked by Inspect.
func (s survey) strays(directories []string) (faults fleet.Faults) {
	for _, r := range s.reads {
		for _, dir := range directories {
			if !below(dir, r.path) {
				continue
			}
			if problem := strayIn(dir, r.path); problem != "" {
				faults = append(faults, lineFault(r.at, "%s", problem))
			}
			break
		}
	}
	return faults
}

func strayIn(dir, path string) string {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return ""
	}
	defer root.Close()
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return ""
	}
	info, err := root.Stat(name) // follows links that stay inside
	switch {
	case errors.Is(err, fs.ErrNotExist): // nginx says so, or makes it
		return ""
	case err != nil:
		return fmt.Sprintf("%s leads out of %s, or cannot be read", path, dir)
	case !info.Mode().IsRegular() && !info.IsDir():
		return fmt.Sprintf("%s is %s, not a regular file", path, host.KindOf(info.Mode()))
	}
	return ""
}
