package bus

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"fairlead/pkg/host"
	"fairlead/pkg/message"
)

// FollowTrust keeps the file of certificates to trust as a trust set says that
// was accepted: a rotation of the authority then needs no hand on this host. The
// next connection reads it. What goes wrong is logged, since the connection that
// there is stands.
func (t TLS) FollowTrust(set message.TrustSet, log *slog.Logger) {
	if t.CA == "" || set.Authorities == "" {
		return
	}
	changed, err := keepAuthorities(t.CA, set.Authorities, set.Dropped)
	switch {
	case err != nil:
		log.Error("the certificates to trust are others, and the file cannot be kept: copy ca.pem of the identity directory there", "file", t.CA, "error", err)
	case changed:
		log.Info("the certificates to trust are others", "file", t.CA, "trustSet", set.Version)
	}
}

// keepAuthorities adds certificates, as PEM, to a file and takes out those of
// some hashes. What else is in it stays, down to its comments: an operator's own
// authorities. A file in which there is none of either is not of this fleet's
// making and left alone, and so is that of an identity directory, which is the
// original.
func keepAuthorities(path, authorities string, dropped []string) (changed bool, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false, err
	}
	if isOriginal(path) {
		return false, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	want := certificates([]byte(authorities))
	var kept []byte
	known := false
	for _, have := range certificates(data) {
		switch {
		case slices.Contains(dropped, have.hash):
			known = true
			continue
		case slices.ContainsFunc(want, func(c certificate) bool { return c.hash == have.hash }):
			known = true
			want = slices.DeleteFunc(want, func(c certificate) bool { return c.hash == have.hash })
		}
		kept = append(kept, have.text...)
	}
	if !known {
		return false, nil
	}
	for _, c := range want {
		if len(kept) > 0 && !bytes.HasSuffix(kept, []byte("\n")) {
			kept = append(kept, '\n')
		}
		kept = append(kept, c.text...)
	}
	if bytes.Equal(kept, data) {
		return false, nil
	}
	info, err := os.Stat(path)
	if err == nil {
		err = host.WriteFile(path, kept, info.Mode().Perm())
	}
	if err != nil {
		return false, fmt.Errorf("keep the certificates to trust: %w", err)
	}
	return true, nil
}

// isOriginal reports whether a file lies in an identity directory or in what
// that has for a broker.
func isOriginal(path string) bool {
	dir := filepath.Dir(path)
	for _, at := range []string{dir, filepath.Dir(dir)} {
		if _, err := os.Stat(filepath.Join(at, "operator.jwt")); err == nil {
			return true
		}
	}
	return false
}

// certificate is one of a file: its text with what stands before it, and its
// fingerprint, empty for what stands behind the last one.
type certificate struct {
	text []byte
	hash string
}

func certificates(data []byte) (all []certificate) {
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return append(all, certificate{text: data})
		}
		c := certificate{text: data[:len(data)-len(rest)]}
		if block.Type == "CERTIFICATE" {
			c.hash = Fingerprint(block.Bytes)
		}
		all, data = append(all, c), rest
	}
	return all
}
