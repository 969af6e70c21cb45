package identity

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fairlead/subjects"
)

// Expiry is something of the directory that ends.
type Expiry struct {
	Kind    string    `json:"kind"` // user, station, node, system user, broker certificate, CA
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
	Renew   string    `json:"renew"` // what renews it
}

// Expiring are the JWTs and certificates in the directory that end before a
// moment, the next first; with it comes an error about what cannot be read.
func (a *Authority) Expiring(before time.Time) ([]Expiry, error) {
	users, err := a.Users()
	faults := []error{err}
	var all []Expiry
	for _, u := range users {
		e := Expiry{"user", u.Name, u.Expires, "fairlead user renew " + u.Name}
		switch u.Role {
		case subjects.Station:
			e.Kind = "station"
		case subjects.Node:
			e.Kind, e.Renew = "node", "by itself, while its agent runs"
		}
		all = append(all, e)
	}
	for kind, c := range map[string]struct{ path, renew string }{
		"broker certificate": {"broker/tls.pem", "fairlead rotate broker-tls"},
		"CA":                 {"ca/ca.pem", "fairlead rotate ca"},
		"CA of nodes":        {"ca/nodes.pem", "fairlead rotate ca --clients"},
	} {
		path := filepath.Join(a.dir, filepath.FromSlash(c.path))
		switch until, err := certificateEnd(path); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			faults = append(faults, err)
		default:
			all = append(all, Expiry{kind, path, until, c.renew})
		}
	}
	all = slices.DeleteFunc(all, func(e Expiry) bool { return e.Expires.IsZero() || e.Expires.After(before) })
	slices.SortFunc(all, func(x, y Expiry) int { return x.Expires.Compare(y.Expires) })
	return all, errors.Join(faults...)
}

// certificateEnd is when the first certificate of a file ends.
func certificateEnd(path string) (time.Time, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return time.Time{}, fmt.Errorf("%s holds no certificate", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.NotAfter, nil
}
