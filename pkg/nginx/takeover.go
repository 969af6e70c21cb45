package nginx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// A host may run an nginx with a configuration that somebody else wrote, at
// the very place of the commit point. The engine leaves it alone until a
// person, who has seen what becomes of it, permits to replace that very file.
// The first version that is proven then takes its place; where it fails, the
// file is put back and nginx reads it again. The sockets stay open all the time.

// Foreign is a configuration at the commit point that is not Fairlead's.
type Foreign struct {
	Path   string `json:"path"`
	Prefix string `json:"prefix"` // of nginx: where it takes relative paths from
	Digest string `json:"digest"` // 64 hex digits: SHA-256 of the file
}

// Foreign is what nginx reads while Fairlead does not manage it yet; the error
// is Unknown where it does, or where there is nothing.
func (e *Engine) Foreign() (Foreign, error) {
	if !e.open.Load() {
		return Foreign{}, fleet.Errorf(fleet.Unavailable, "the engine of nginx in %s does not run", e.cfg.State)
	}
	if !e.store.foreign() {
		return Foreign{}, fleet.Errorf(fleet.Unknown, "%s is no configuration that somebody else wrote", e.cfg.link())
	}
	digest, err := fileDigest(e.cfg.link())
	if err != nil {
		return Foreign{}, fleet.Errorf(fleet.Failed, "read the host's configuration: %w", err)
	}
	return Foreign{Path: e.cfg.link(), Prefix: e.Prefix(), Digest: digest}, nil
}

// Prefix is where the node's nginx takes relative paths from. It is known once
// Run has looked.
func (e *Engine) Prefix() string {
	if prefix := e.can().value("--prefix"); prefix != "" {
		return prefix
	}
	return "/usr/local/nginx"
}

// PermitTakeover allows the next Apply to replace the host's configuration,
// if it still has the digest that a person saw. The error is Conflict where it
// has not, and Refused where the engine runs an nginx of its own.
func (e *Engine) PermitTakeover(digest string) error {
	if e.cfg.Manage == Child {
		return fleet.Errorf(fleet.Refused, "this agent runs an nginx of its own beside the host's: to take over the host's, "+
			"start the agent with --nginx external --nginx-conf /etc/nginx --nginx-pid /run/nginx.pid")
	}
	f, err := e.Foreign()
	if err != nil {
		return err
	}
	if f.Digest != digest {
		return fleet.Errorf(fleet.Conflict, "%s was changed since it was read: adopt it again", f.Path)
	}
	data, err := json.Marshal(f)
	if err == nil {
		err = host.WriteFile(e.store.permitFile(), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fleet.Errorf(fleet.Failed, "note that the host's configuration may be taken over: %w", err)
	}
	return nil
}

// Check stages a bundle and has nginx read it, without telling the running
// nginx anything. The errors are those of Apply before its commit point.
func (e *Engine) Check(ctx context.Context, b Bundle) error {
	unlock, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := e.stage(0, b)
	if err != nil {
		return err
	}
	defer e.discard(v)
	if faults := Inspect(b, b.Policy()); len(faults) > 0 {
		return faults
	}
	return e.test(ctx, v, b)
}

func (s store) permitFile() string { return filepath.Join(s.state, "takeover.json") }
func (s store) beforeFile() string { return filepath.Join(s.state, "before", "nginx.conf") }

// foreign says whether a regular file lies at the commit point and no version
// was ever proven there.
func (s store) foreign() bool {
	info, err := os.Lstat(s.link)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	_, err = os.Stat(filepath.Join(s.state, "good.json"))
	return errors.Is(err, fs.ErrNotExist)
}

// permitted says whether a person allowed to replace the file as it is now.
func (s store) permitted() bool {
	var f Foreign
	data, err := os.ReadFile(s.permitFile())
	if err != nil || json.Unmarshal(data, &f) != nil {
		return false
	}
	digest, err := fileDigest(s.link)
	return err == nil && digest == f.Digest
}

// keepForeign copies the host's configuration before it is replaced: for
// putting it back, and beside its place for people.
func (s store) keepForeign() error {
	if !s.foreign() {
		return nil
	}
	data, err := os.ReadFile(s.link)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.beforeFile()), 0o700)
	}
	if err == nil {
		err = host.WriteFile(s.beforeFile(), data, 0o644)
	}
	if err == nil {
		err = host.WriteFile(s.link+".before-fairlead", data, 0o644)
	}
	if err != nil {
		return fleet.Errorf(fleet.Failed, "keep the host's configuration: %w", err)
	}
	return nil
}

// takenOver says whether the host's configuration was replaced and nothing
// was proven in its place: an agent was killed in between.
func (s store) takenOver() bool {
	_, before := os.Stat(s.beforeFile())
	_, good := os.Stat(filepath.Join(s.state, "good.json"))
	info, err := os.Lstat(s.link)
	return before == nil && errors.Is(good, fs.ErrNotExist) && err == nil && info.Mode().Type() == fs.ModeSymlink
}

// putBack is rollBack for the first version: the host's own configuration is
// what served before.
func (e *Engine) putBack(ctx context.Context, why *failure) error {
	data, err := os.ReadFile(e.store.beforeFile())
	if err == nil {
		err = host.WriteFile(e.cfg.link(), data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("the host's own configuration could not be put back: %w", err)
	}
	if why.refused || !e.up() {
		return nil // nginx never left it
	}
	old := e.workersNow()
	e.control.drain()
	if err := e.hangUp(); err != nil {
		return err
	}
	return e.renewed(ctx, old)
}

// renewed waits until workers take connections and none of them is old. It is
// all that can be known of a configuration that has no status socket.
func (e *Engine) renewed(ctx context.Context, old []worker) error {
	ctx, cancel := context.WithTimeout(ctx, e.deadline())
	defer cancel()
	for {
		all := e.workersNow()
		active := 0
		for _, w := range all {
			if !w.draining {
				active++
			}
		}
		if active > 0 && settled(all, old, active) {
			return nil
		}
		if !pause(ctx, glance) {
			return errors.New("nginx does not read the host's own configuration again")
		}
	}
}

func fileDigest(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
