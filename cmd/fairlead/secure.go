package main

import (
	"os"
	"path/filepath"
	"strings"

	"fairlead/pkg/bus"
)

// secureBy is how the connection to a broker is secured: by flags and
// FAIRLEAD_*, then by the context, where there is one.
func (a *app) secureBy(c bus.Context, url, creds string) bus.TLS {
	t := bus.TLS{CA: c.CA, Cert: c.Cert, Key: c.Key, GreetsFirst: a.url == "" && c.Name != "" && !c.TLSFirst}
	or(&t.CA, a.ca)
	or(&t.Cert, a.tlsCert)
	or(&t.Key, a.tlsKey)
	if t.CA == "" && strings.Contains(url, "tls://") {
		t.CA = usualCA(creds)
	}
	return t
}

// usualCA is a ca.pem beside the credentials, or that of the identity
// directory that they lie in; "" where there is none, and the system's
// certificates are trusted.
func usualCA(creds string) string {
	dir := filepath.Dir(creds)
	usual := []string{filepath.Join(dir, "ca.pem")}
	for range 4 {
		if dir = filepath.Dir(dir); there(filepath.Join(dir, "operator.jwt")) {
			usual = append(usual, filepath.Join(dir, "ca", "ca.pem"))
		}
	}
	for _, path := range usual {
		if there(path) {
			return path
		}
	}
	return ""
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
