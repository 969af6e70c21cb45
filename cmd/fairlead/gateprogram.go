package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/station"
)

// gateProgramTime bounds one run of a gate's program.
const gateProgramTime = time.Minute

// gateProgram runs the programs of gates: those of one directory, which nobody but
// its owner may write to, and no others. Their name comes from whoever may begin a
// rollout, and what they do is with the directory's owner.
func gateProgram(dir string) (func(context.Context, string, []byte) (station.GateAnswer, error), error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--gates: %w", err)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fleet.Errorf(fleet.Invalid, "--gates: %w", err)
	case !info.IsDir():
		return nil, fleet.Errorf(fleet.Invalid, "--gates: %s is not a directory", dir)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fleet.Errorf(fleet.Invalid, "--gates: others may write to %s, and so choose what this station runs: chmod go-w it", dir)
	}
	return func(ctx context.Context, name string, question []byte) (a station.GateAnswer, err error) {
		path := filepath.Join(dir, name)
		if filepath.Dir(path) != dir {
			return a, fleet.Errorf(fleet.Invalid, "%q is no program of the station's directory of gates", name)
		}
		file, err := os.Lstat(path)
		if err != nil || !file.Mode().IsRegular() || file.Mode().Perm()&0o022 != 0 {
			return a, fleet.Errorf(fleet.Invalid, "the station's directory of gates has no file %s that nobody else may write to", name)
		}
		ctx, cancel := context.WithTimeout(ctx, gateProgramTime)
		defer cancel()
		r, err := host.Run(ctx, host.Command{Path: path, Stdin: question})
		if err != nil {
			return a, err
		}
		a.ExitCode = r.ExitCode
		said := strings.TrimSpace(string(r.Stdout))
		if said == "" {
			said = strings.TrimSpace(string(r.Stderr))
		}
		a.Reason, _, _ = strings.Cut(said, "\n")
		return a, nil
	}, nil
}
