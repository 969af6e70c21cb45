package fleet_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
)

// What people hand in as certificate and key is read without a panic, what is
// taken reads the same once more, and what could be a key is in no chain.
func FuzzCertificateFiles(f *testing.F) {
	p := certtest.New(f).Issue("a.example.org")
	for _, seed := range [][]byte{p.Chain, p.Key, append(p.Key, p.Chain...), p.Chain[:40], []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
		[]byte("-----BEGIN PRIVATE KEY-----\nA: b\n\nAAAA\n-----END PRIVATE KEY-----\n"), {0x30}, nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if chain, err := fleet.CertificatesOf(file); err == nil {
			text := fleet.EncodeChain(chain)
			if again, err := fleet.ParseChain([]byte(text)); err != nil || len(again) != len(chain) || strings.Contains(text, "PRIVATE KEY") {
				t.Errorf("%q is read as %q, which is not read again: %v", file, text, err)
			}
			_ = fleet.ChainProblem(chain)
			_ = fleet.DescribeChain([]byte(text))
		}
		if key, err := fleet.PrivateKeyOf(file); err == nil {
			if again, err := fleet.PrivateKeyOf(key); err != nil || string(again) != string(key) {
				t.Errorf("a key is not read again: %v", err)
			}
			_ = fleet.CheckKey(p.Leaf, key)
		}
		_ = (&fleet.Certificate{Certificate: string(file), KeyFile: "k"}).Validate()
	})
}
