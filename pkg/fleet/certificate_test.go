package fleet_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
)

// stored is a certificate as the fleet bucket keeps it.
func stored(p certtest.Pair) *fleet.Certificate {
	return &fleet.Certificate{Certificate: string(p.Chain), Fingerprint: fleet.Fingerprint(p.Leaf), SealedKey: "X.abc", SealedTo: "X"}
}

func wantFault(t *testing.T, faults fleet.Faults, path, part string) {
	t.Helper()
	for _, f := range faults {
		if f.Path == path && strings.Contains(f.Message, part) {
			return
		}
	}
	t.Errorf("faults are %v, want one of %s with %q", faults, path, part)
}

func TestACertificateHasThreeFormsAndNoFourth(t *testing.T) {
	p := certtest.New(t).Issue("a.example.org")
	print := fleet.Fingerprint(p.Leaf)
	for name, good := range map[string]fleet.Certificate{
		"files":          {CertificateFile: "a.crt", KeyFile: "a.key"},
		"inline":         {Certificate: string(p.Chain), KeyFile: "a.key"},
		"as it is shown": {Certificate: string(p.Chain), Fingerprint: print},
		"stored":         *stored(p),
	} {
		if faults := good.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
	for name, bad := range map[string]struct {
		spec       fleet.Certificate
		path, part string
	}{
		"nothing":           {fleet.Certificate{}, "spec.certificateFile", "is missing"},
		"no key":            {fleet.Certificate{CertificateFile: "a.crt"}, "spec.keyFile", "is missing"},
		"both":              {fleet.Certificate{CertificateFile: "a.crt", Certificate: string(p.Chain), KeyFile: "a.key"}, "spec.certificate", "cannot go with"},
		"a key inline":      {fleet.Certificate{Certificate: string(p.Chain) + string(p.Key), KeyFile: "a.key"}, "spec.certificate", "holds a private key"},
		"another print":     {fleet.Certificate{Certificate: string(p.Chain), Fingerprint: strings.Repeat("0", 64)}, "spec.fingerprint", "is not that"},
		"sealed by hand":    {fleet.Certificate{CertificateFile: "a.crt", KeyFile: "a.key", SealedTo: "X"}, "spec.sealedTo", "by Fairlead alone"},
		"stored with files": {fleet.Certificate{Certificate: string(p.Chain), Fingerprint: print, KeyFile: "a.key", SealedKey: "X.a", SealedTo: "X"}, "spec.sealedKey", "cannot go with"},
		"no blob":           {fleet.Certificate{Certificate: string(p.Chain), Fingerprint: print, SealedKey: "a b;", SealedTo: "X"}, "spec.sealedKey", "is not what Fairlead wrote"},
	} {
		t.Run(name, func(t *testing.T) { wantFault(t, bad.spec.Validate(), bad.path, bad.part) })
	}
}

func TestAWrongChainIsRefusedInWords(t *testing.T) {
	a, other := certtest.New(t), certtest.New(t)
	p := a.Issue("a.example.org")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cut := string(p.Chain[:len(p.Chain)-40])
	for name, c := range map[string]struct{ chain, part string }{
		"no PEM":         {"hello", "holds no certificate"},
		"cut off":        {cut, "damaged PEM"},
		"reversed":       {string(certtest.PEM(a.Middle, p.Leaf)), "is not in order"},
		"another issuer": {string(certtest.PEM(p.Leaf, other.Middle)), "is not signed by"},
		"twice":          {string(certtest.PEM(p.Leaf, p.Leaf)), "is there twice"},
		"small RSA":      {string(a.IssueWith(nil, small, "a.example.org").Chain), "RSA of 1024 bits"},
		"odd curve":      {string(a.IssueWith(nil, odd, "a.example.org").Chain), "curve"},
		"no names":       {string(a.Issue().Chain), "names no host"},
		"a request":      {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")})), "holds a CERTIFICATE REQUEST"},
		"rubbish inside": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "cannot be read"},
		"too large":      {strings.Repeat("x", fleet.MaxCertificate+1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := fleet.Certificate{Certificate: c.chain, KeyFile: "a.key"}
			wantFault(t, spec.Validate(), "spec.certificate", c.part)
		})
	}
	whole := fleet.Certificate{Certificate: string(certtest.PEM(p.Leaf, a.Middle, a.Root)), KeyFile: "a.key"}
	if faults := whole.Validate(); len(faults) > 0 {
		t.Errorf("a chain with its root: %v", faults)
	}
}

func TestKeysOfAllKindsAreReadAndComparedWithTheCertificate(t *testing.T) {
	a := certtest.New(t)
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	elliptical := certtest.NewKey(t)
	sec1, err := x509.MarshalECPrivateKey(elliptical.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	for name, c := range map[string]struct {
		key  crypto.Signer
		file []byte
	}{
		"PKCS 1":           {big, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(big)})},
		"SEC 1":            {elliptical, append(parameters, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)},
		"Ed25519, PKCS 8":  {edwards, a.IssueWith(nil, edwards, "x.example.org").Key},
		"with certificate": {elliptical, append(a.IssueWith(nil, elliptical, "x.example.org").Chain, a.IssueWith(nil, elliptical, "x.example.org").Key...)},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := fleet.PrivateKeyOf(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if err := fleet.CheckKey(a.IssueWith(nil, c.key, "a.example.org").Leaf, key); err != nil {
				t.Error(err)
			}
			if err := fleet.CheckKey(a.Issue("a.example.org").Leaf, key); err == nil || !strings.Contains(err.Error(), "not the key of the certificate") {
				t.Errorf("the key of another one: %v", err)
			}
		})
	}
}

func TestAKeyFileThatIsOfNoUseIsSaidToBeSoAndNotShown(t *testing.T) {
	p := certtest.New(t).Issue("a.example.org")
	body := strings.Split(string(p.Key), "\n")[1]
	for name, c := range map[string]struct{ file, part string }{
		"empty":        {"", "is empty"},
		"encrypted":    {strings.ReplaceAll(string(p.Key), "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "encrypted"},
		"old style":    {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n" + body + "\n-----END RSA PRIVATE KEY-----\n", "encrypted"},
		"certificate":  {string(p.Chain), "holds no private key"},
		"two keys":     {string(p.Key) + string(p.Key), "more than one"},
		"cut off":      {string(p.Key[:len(p.Key)-30]), "damaged"},
		"DER":          {"\x30\x82\x01\x02", "is DER"},
		"UTF-16":       {"\xff\xfe-\x00-\x00", "UTF-16"},
		"another kind": {strings.Replace(string(p.Key), body, "AAAA"+body[4:], 1), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fleet.PrivateKeyOf([]byte(c.file))
			if err == nil || !strings.Contains(err.Error(), c.part) {
				t.Fatalf("%v, want something with %q", err, c.part)
			}
			if strings.Contains(err.Error(), body[:12]) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestExpiryAndNamesAreJudgedAndCanBeAllowed(t *testing.T) {
	p := certtest.New(t).Issue("a.example.org", "*.shop.example.org", "192.0.2.1")
	c := stored(p)
	for when, want := range map[time.Duration]string{0: "", -2 * time.Hour: "only from", 91 * 24 * time.Hour: "expired on"} {
		if got := c.TimeProblem(time.Now().Add(when)); got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("in %v: %q, want %q", when, got, want)
		}
	}
	for name, good := range map[string]bool{
		"a.example.org": true, "A.Example.Org": true, "x.shop.example.org": true, "*.shop.example.org": true, "192.0.2.1": true, "_": true,
		"b.example.org": false, "x.y.shop.example.org": false, "shop.example.org": false, "*.example.org": false, "*.a.example.org": false,
	} {
		if problem := c.NameProblem(name); (problem == "") != good {
			t.Errorf("%s: %q", name, problem)
		}
	}
	c.AllowExpired, c.AllowNames = true, true
	if c.TimeProblem(time.Now().Add(1e4*time.Hour)) != "" || c.NameProblem("b.example.org") != "" {
		t.Error("what is allowed is refused")
	}
}

func TestWhatIsShownOfACertificateHoldsNothingSealed(t *testing.T) {
	c := stored(certtest.New(t).Issue("a.example.org"))
	shown := fleet.Shown(fleet.Resource{Kind: "Certificate", Spec: c}).Spec.(*fleet.Certificate)
	if shown.SealedKey != "" || shown.SealedTo != "" || c.SealedKey == "" {
		t.Errorf("shown is %+v, kept %+v", shown, c)
	}
	if faults := shown.Validate(); len(faults) > 0 {
		t.Errorf("what is shown cannot be applied again: %v", faults)
	}
	if text := c.Describe(); !strings.Contains(text, "host: a.example.org\n") || strings.Contains(text, "X.abc") {
		t.Errorf("described as %s", text)
	}
}
