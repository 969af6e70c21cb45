package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/station"
)

// helperTime bounds one question to a join helper: the host that joins waits
// for it.
const helperTime = 8 * time.Second

// joinHelper asks a program about each node that wants to join: JSON in on its
// standard input, JSON out on its standard output, within a limit. It is trusted
// with the decision, so anything unexpected is an error and lets nobody in.
func joinHelper(program string, limit time.Duration) (func(context.Context, station.JoinCandidate) (station.JoinVerdict, error), error) {
	path, err := host.LookPath(program)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--join-helper: %w", err)
	}
	return func(ctx context.Context, c station.JoinCandidate) (v station.JoinVerdict, err error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		question, err := json.Marshal(c)
		if err != nil {
			return v, err
		}
		r, err := host.Run(ctx, host.Command{Path: path, Stdin: question})
		if errors.Is(err, context.DeadlineExceeded) {
			return v, fleet.Errorf(fleet.Timeout, "%s has not answered within %v and was ended", path, limit)
		}
		if err != nil {
			return v, err
		}
		if r.ExitCode != 0 {
			return v, fleet.Errorf(fleet.Failed, "%s ended with exit code %d: %s", path, r.ExitCode, strings.TrimSpace(string(r.Stderr)))
		}
		d := json.NewDecoder(bytes.NewReader(r.Stdout))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			return station.JoinVerdict{}, fleet.Errorf(fleet.Invalid, "%s answered what cannot be read: %w", path, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return station.JoinVerdict{}, fleet.Errorf(fleet.Invalid, "%s answered more than one verdict", path)
		}
		return v, nil
	}, nil
}
