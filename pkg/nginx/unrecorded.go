package nginx

import (
	"context"
	"os"
	"path/filepath"
)

// finish does for a linked version that nginx serves what an agent that was
// killed after the load did not live to do: the hosts that changed are probed,
// and the version is recorded or its trial begins. With a failure the last
// good version is to come back.
func (e *Engine) finish(ctx context.Context, v, good version) *failure {
	if t := e.savedTrial(); v.Name == good.Name || t != nil && t.Version == v.Name {
		e.take(v) // that was done
		return nil
	}
	if f := e.ask(ctx, probesOf(v.onDisk(), v.changedFrom(good))); f != nil {
		bad := v.tried()
		bad.Revision, bad.Reason, bad.Owners = v.Manifest.Revision, v.String()+": "+f.text, f.owners
		e.hold(bad)
		e.tell(EventRolledBack, "%s: %s; back to %s", v, f.text, good)
		return f
	}
	if err := e.settle(v); err != nil {
		e.log.Warn("nginx serves, and that is not recorded", "version", v.Name, "error", err)
		e.proven(v)
	}
	return nil
}

// onDisk is the files of a version as they lie there; one that is gone is left
// out, and those that lie together in one that was changed are that one.
func (v version) onDisk() (all []File) {
	for _, f := range v.Manifest.Files {
		data, err := os.ReadFile(filepath.Join(v.Dir, f.Path))
		if err != nil {
			continue
		}
		parts, ok := f.apart(data)
		if len(parts) == 0 || !ok {
			all = append(all, File{Path: f.Path, Mode: f.Mode, Owner: f.Owner, Content: data})
			continue
		}
		for i, part := range f.Parts {
			all = append(all, File{Path: part.Path, Mode: part.Mode, Owner: part.Owner, Content: parts[i]})
		}
	}
	return all
}
