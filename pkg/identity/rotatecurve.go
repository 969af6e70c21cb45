package identity

import (
	"encoding/json"
	"fmt"

	"fairlead/pkg/fleet"
)

// RotateCurve makes a new curve key for the tenant's stations, which from the
// next trust set on certificates' private keys are sealed to. What was sealed to
// the old one is opened until FinishCurve. Stations need the new station.keys.
func (a *Authority) RotateCurve() error {
	return a.changeCurve(func(f *stationFile) error {
		f.Older = append([]olderCurve{{f.Curve, f.Voucher}}, f.Older...)
		return a.newCurve(f)
	})
}

// FinishCurve forgets the curve keys that were replaced: what is sealed to them
// nobody opens any more. The error is Conflict where there is none.
func (a *Authority) FinishCurve() error {
	return a.changeCurve(func(f *stationFile) error {
		if len(f.Older) == 0 {
			return fleet.Errorf(fleet.Conflict, "the curve key of tenant %q is not being replaced", a.options.Tenant)
		}
		f.Older = nil
		return nil
	})
}

func (a *Authority) changeCurve(change func(*stationFile) error) error {
	unlock, err := a.hold()
	if err != nil {
		return err
	}
	defer unlock()
	path := a.in("station.keys")
	have, err := a.vault.read(path)
	if err != nil {
		return err
	}
	f, err := parseStationFile(have)
	if err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	if err := change(&f); err != nil {
		return err
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := a.vault.write(path, append(data, '\n')); err != nil {
		return err
	}
	if err := a.tellCurve(f); err != nil {
		return err
	}
	return a.updateTrust()
}

// Curve is the public curve key of the tenant's stations.
func (a *Authority) Curve() (string, error) { return a.curve() }
