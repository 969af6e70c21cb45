package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// StationKeys are the secrets that the stations of a tenant share: the curve
// key that certificates' private keys are sealed to, and the signing keys of
// nodes and of those who want to become one. Who has them opens every sealed
// key of the tenant and makes nodes, but no people.
type StationKeys struct {
	Curve  message.StationCurve
	Issuer *Issuer
}

// stationFile is station.keys.
type stationFile struct {
	Account string `json:"account"`
	Curve   string `json:"curve"` // seed, SX…
	Voucher string `json:"voucher"`
	Node    string `json:"node"` // seeds of signing keys, SA…
	Renew   string `json:"renew"`
	Join    string `json:"join"`
	// Older are curve keys that were replaced, the youngest first.
	Older []olderCurve `json:"older,omitempty"`
}

type olderCurve struct {
	Curve   string `json:"curve"`
	Voucher string `json:"voucher"`
}

// StationKeys makes the tenant's station.keys, or brings it up to date, and
// returns the path of its file. In an encrypted directory nobody can read it
// there: ExportStationKeys writes it where a station takes it from.
func (a *Authority) StationKeys() (path string, err error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	path = a.in("station.keys")
	_, err = a.stationKeys(path)
	return path, err
}

// ExportStationKeys writes station.keys for a station to take.
func (a *Authority) ExportStationKeys(to string) error {
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	data, err := a.stationKeys(a.in("station.keys"))
	if err != nil {
		return err
	}
	return writeFile(to, data)
}

// stationKeys is the file's text; the directory is held.
func (a *Authority) stationKeys(path string) ([]byte, error) {
	have, err := a.vault.read(path)
	if err != nil {
		return nil, err
	}
	var f stationFile
	if have != nil {
		if f, err = parseStationFile(have); err != nil {
			return nil, fmt.Errorf("%s %w", path, err)
		}
		if f.Account != a.account.public {
			return nil, fleet.Errorf(fleet.Invalid, "%s is of another account: restore it from the backup that the seeds beside it came from", path)
		}
	} else if err := a.newCurve(&f); err != nil {
		return nil, err
	}
	for role, seed := range f.seeds() {
		pair, err := a.roles[role].open()
		if err != nil {
			return nil, err
		}
		text, err := pair.Seed()
		if err != nil {
			return nil, err
		}
		*seed = string(text)
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	if !bytes.Equal(data, have) {
		if err := a.vault.write(path, data); err != nil {
			return nil, err
		}
	}
	return data, a.tellCurve(f)
}

// newCurve makes a curve key, and has the account say that it is its stations'.
func (a *Authority) newCurve(f *stationFile) error {
	curve, seed, err := message.NewCurve()
	if err != nil {
		return err
	}
	account, err := a.account.open()
	if err != nil {
		return err
	}
	f.Account, f.Curve = a.account.public, string(seed)
	f.Voucher, err = message.Vouch(account, curve.Public())
	return err
}

// tellCurve keeps the public half beside station.keys, which may be encrypted.
func (a *Authority) tellCurve(f stationFile) error {
	curve, err := message.CurveOf([]byte(f.Curve))
	if err != nil {
		return err
	}
	if have, err := a.curve(); err != nil || have == curve.Public() {
		return err
	}
	return writeFile(a.in("curve.pub"), []byte(curve.Public()+"\n"))
}

// curve is the stations' public curve key, "" where there is none yet.
func (a *Authority) curve() (string, error) {
	text, err := readFile(a.in("curve.pub"))
	return string(bytes.TrimSpace(text)), err
}

func (f *stationFile) seeds() map[subjects.Role]*string {
	return map[subjects.Role]*string{subjects.Node: &f.Node, subjects.Renew: &f.Renew, subjects.Join: &f.Join}
}

// LoadStationKeys reads a station.keys. One that is missing is Invalid and
// os.ErrNotExist.
func LoadStationKeys(path string) (StationKeys, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return StationKeys{}, fleet.Errorf(fleet.Invalid, "read the stations' keys: %w", err)
	}
	k, err := parseStationKeys(data)
	if err != nil {
		return k, fleet.Errorf(fleet.Invalid, "the stations' keys: %s %w", path, err)
	}
	if problem := tooOpen(path); problem != "" {
		return k, fleet.Errorf(fleet.Invalid, "the stations' keys: %s", problem)
	}
	return k, nil
}

// parseStationKeys says what is wrong without showing any of the file.
func parseStationKeys(data []byte) (k StationKeys, err error) {
	f, err := parseStationFile(data)
	if err != nil {
		return k, err
	}
	if k.Curve, err = parseCurve(f.Account, f.Curve, f.Voucher); err != nil {
		return k, err
	}
	for _, o := range f.Older {
		older, err := parseCurve(f.Account, o.Curve, o.Voucher)
		if err != nil {
			return k, err
		}
		k.Curve.Older = append(k.Curve.Older, older)
	}
	seeds := make(map[subjects.Role][]byte)
	for role, seed := range f.seeds() {
		seeds[role] = []byte(*seed)
	}
	k.Issuer, err = NewIssuer(f.Account, seeds)
	return k, err
}

func parseCurve(account, seed, voucher string) (message.StationCurve, error) {
	c, err := message.CurveOf([]byte(seed))
	if err == nil && message.CheckVoucher(account, c.Public(), voucher) != nil {
		err = fleet.Errorf(fleet.Invalid, "is not whole: the account did not sign its curve key")
	}
	return message.StationCurve{Curve: c, Account: account, Voucher: voucher}, err
}

func parseStationFile(data []byte) (f stationFile, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&f) != nil || !nkeys.IsValidPublicAccountKey(f.Account) {
		return f, fleet.Errorf(fleet.Invalid, "is not a file that `fairlead init` wrote")
	}
	return f, nil
}
