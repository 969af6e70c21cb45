package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// curveFile is station.curve.
type curveFile struct {
	Seed    string `json:"seed"`
	Account string `json:"account"`
	Voucher string `json:"voucher"`
}

// StationCurve makes or loads the curve key of the tenant's stations, which
// certificates' private keys are sealed to, and returns the path of its file.
// The file is for stations alone: who has it can open every sealed key of the
// tenant.
func (a *Authority) StationCurve() (path string, err error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	path = a.curvePath()
	have, err := readFile(path)
	if err != nil {
		return "", err
	}
	if have != nil {
		c, err := parseStationCurve(have)
		if err == nil && c.Account != a.account.public {
			err = fleet.Errorf(fleet.Invalid, "is of another account: restore it from the backup that the seeds beside it came from")
		}
		if err != nil {
			return "", fmt.Errorf("%s %w", path, err)
		}
		return path, nil
	}
	curve, seed, err := message.NewCurve()
	if err != nil {
		return "", err
	}
	voucher, err := message.Vouch(a.account.pair, curve.Public())
	if err != nil {
		return "", err
	}
	data, err := json.MarshalIndent(curveFile{string(seed), a.account.public, voucher}, "", "  ")
	if err != nil {
		return "", err
	}
	return path, writeFile(path, append(data, '\n'))
}

func (a *Authority) curvePath() string {
	return filepath.Join(a.dir, "tenants", a.options.Tenant, "station.curve")
}

// LoadStationCurve reads a file of StationCurve's. One that is missing is
// Invalid and os.ErrNotExist.
func LoadStationCurve(path string) (message.StationCurve, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return message.StationCurve{}, fleet.Errorf(fleet.Invalid, "read the stations' curve key: %w", err)
	}
	c, err := parseStationCurve(data)
	if err != nil {
		return c, fleet.Errorf(fleet.Invalid, "the stations' curve key: %s %w", path, err)
	}
	if problem := tooOpen(path); problem != "" {
		return c, fleet.Errorf(fleet.Invalid, "the stations' curve key: %s", problem)
	}
	return c, nil
}

// parseStationCurve says what is wrong without showing any of the file.
func parseStationCurve(data []byte) (c message.StationCurve, err error) {
	var f curveFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&f) != nil {
		return c, fleet.Errorf(fleet.Invalid, "is not a file that `fairlead broker` wrote")
	}
	if c.Curve, err = message.CurveOf([]byte(f.Seed)); err != nil {
		return c, err
	}
	c.Account, c.Voucher = f.Account, f.Voucher
	if message.CheckVoucher(c.Account, c.Public(), c.Voucher) != nil {
		return c, fleet.Errorf(fleet.Invalid, "is not whole: the account did not sign this key")
	}
	return c, nil
}

// AccountKey is c.Account, as package client asks for it.
func (c *Credentials) AccountKey() string { return c.Account }
