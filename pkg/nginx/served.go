package nginx

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/fleet"
)

// ServedCertificate is a certificate that nginx serves.
type ServedCertificate struct {
	Name     string    `json:"name"`     // of the resource
	Names    []string  `json:"names"`    // that it is for
	NotAfter time.Time `json:"notAfter"` // when it expires
}

// servedCertificates remembers the certificates of one version, which never change.
type servedCertificates struct {
	mu           sync.Mutex
	version      string
	certificates []ServedCertificate
}

// of lists a version's certificates by name, as they lie on disk. One that
// somebody damaged there is left out.
func (s *servedCertificates) of(v version) []ServedCertificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == v.Name {
		return s.certificates
	}
	s.version, s.certificates = v.Name, nil
	for _, f := range v.Manifest.Files {
		file, ok := strings.CutPrefix(f.Path, sslDir)
		name, crt := strings.CutSuffix(file, ".crt")
		if !ok || !crt {
			continue
		}
		data, err := os.ReadFile(filepath.Join(v.Dir, f.Path))
		if err != nil {
			continue
		}
		if chain, err := fleet.ParseChain(data); err == nil {
			s.certificates = append(s.certificates, ServedCertificate{name, fleet.Names(chain[0]), chain[0].NotAfter.UTC()})
		}
	}
	return s.certificates
}
