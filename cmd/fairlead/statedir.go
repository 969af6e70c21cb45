package main

import (
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
)

// stateFile is the path of a file that the command line keeps for its user,
// below $XDG_STATE_HOME or ~/.local/state. Its directory is made.
func stateFile(parts ...string) (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // the specification has relative paths ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fleet.Errorf(fleet.Invalid, "no place for the user's state: %w: set XDG_STATE_HOME", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	path := filepath.Join(append([]string{base, "fairlead"}, parts...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fleet.Errorf(fleet.Invalid, "the user's state: %w", err)
	}
	return path, nil
}
