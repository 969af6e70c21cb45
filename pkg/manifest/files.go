package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"fairlead/pkg/fleet"
)

// ReadFiles is the set with the files that its certificates name, read from
// beside the files that name them. Certificates then hold their chain, in one
// form, and the fingerprint of their key; the keys are with Key alone, and in
// no resource.
//
// The error is fleet.Faults with the line of the field that names the file. It
// shows nothing of what the files hold.
func (s Set) ReadFiles() (Set, error) {
	read := Set{documents: slices.Clone(s.documents), keys: make(map[string]func() []byte)}
	var faults fleet.Faults
	for i, d := range read.documents {
		spec, ok := d.Resource.Spec.(*fleet.Certificate)
		if !ok || spec.Stored() {
			continue
		}
		filled, key, found := readCertificate(filepath.Dir(d.File), *spec)
		for _, f := range found {
			f.File, f.Line, f.Subject = d.File, d.LineOf(f.Path), d.Resource.ID()
			faults = append(faults, f)
		}
		read.documents[i].Resource.Spec = filled
		if key != nil {
			read.keys[d.Resource.ID()] = func() []byte { return key } // which no way of printing a set shows
		}
	}
	return read, faults.Err()
}

// Key is a certificate's private key by the resource's ID, PKCS #8 in PEM; nil
// where the set names none. It is there after ReadFiles.
func (s Set) Key(id string) []byte {
	if key := s.keys[id]; key != nil {
		return key()
	}
	return nil
}

// readCertificate gives a certificate as it is to be stored but for the sealed
// key, and the key where a file holds it.
func readCertificate(dir string, c fleet.Certificate) (filled *fleet.Certificate, key []byte, faults fleet.Faults) {
	filled = &fleet.Certificate{Certificate: c.Certificate, Fingerprint: c.Fingerprint, AllowExpired: c.AllowExpired, AllowNames: c.AllowNames}
	at, file := "spec.certificate", []byte(c.Certificate)
	if c.CertificateFile != "" {
		var problem string
		at = "spec.certificateFile"
		if file, problem = readSmall(dir, c.CertificateFile); problem != "" {
			faults.Addf(at, "%q %s", clip(c.CertificateFile), problem)
		}
	}
	if len(faults) == 0 {
		chain, err := fleet.CertificatesOf(file)
		if err != nil {
			faults.Addf(at, "%s%v", named(c.CertificateFile), err)
		} else {
			filled.Certificate = fleet.EncodeChain(chain)
			filled.Fingerprint = fleet.Fingerprint(chain[0])
			for _, f := range filled.Validate() {
				faults.Addf(at, "%s%s", named(c.CertificateFile), f.Message)
			}
		}
	}
	if c.Fingerprint != "" && c.Fingerprint != filled.Fingerprint && len(faults) == 0 {
		faults.Addf("spec.fingerprint", "is not that of the certificate's key: remove it, it is written by Fairlead")
	}
	if c.KeyFile == "" {
		return filled, nil, faults
	}
	file, problem := readSmall(dir, c.KeyFile)
	if problem != "" {
		faults.Addf("spec.keyFile", "%q %s", clip(c.KeyFile), problem)
		return filled, nil, faults
	}
	key, err := fleet.PrivateKeyOf(file)
	if err == nil && len(faults) == 0 {
		chain, _ := filled.Chain() // encoded above
		err = fleet.CheckKey(chain[0], key)
	}
	if err != nil {
		faults.Addf("spec.keyFile", "%q %v", clip(c.KeyFile), err)
		return filled, nil, faults
	}
	return filled, key, faults
}

// named begins a message about a file.
func named(file string) string {
	if file == "" {
		return ""
	}
	return fmt.Sprintf("%q ", clip(file))
}

// readSmall reads a file that a certificate or a key may be in. It says what
// is wrong without the path, which the fault names.
func readSmall(dir, name string) (data []byte, problem string) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	info, err := os.Stat(name) // before opening: a pipe would wait for its writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Sprintf("is not there: it is looked for in %s", filepath.Dir(name))
	}
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, "is not a regular file"
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, fleet.MaxCertificate+1))
	if err != nil {
		return nil, plain(err)
	}
	return data, ""
}
