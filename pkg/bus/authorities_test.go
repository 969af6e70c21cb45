package bus_test

import (
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/message"
)

// certificate is one in PEM; what is in it does not matter here.
func certificate(name string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(name)}))
}

func TestAFileOfAuthoritiesFollowsTheTrustSet(t *testing.T) {
	one, two, own := certificate("one"), certificate("two"), "# our own\n"+certificate("own")
	both := message.TrustSet{Authorities: two + one}
	done := message.TrustSet{Authorities: two, Dropped: []string{bus.Fingerprint([]byte("one"))}}
	for name, c := range map[string]struct {
		before string
		set    message.TrustSet
		after  string
	}{
		"the next one is added":                 {one, both, one + two},
		"the old one is dropped":                {one + two, done, two},
		"both at once, as by who was away":      {one, done, two},
		"what is there stays":                   {one + two, both, one + two},
		"an operator's own stay":                {own + one, done, own + two},
		"without a newline at the end":          {own + one[:len(one)-1], both, own + one + two},
		"a file without any of the fleet's":     {own, both, own},
		"what is no certificate":                {"# nothing\n", both, "# nothing\n"},
		"a set of before there were any in it":  {one, message.TrustSet{}, one},
		"comments behind the last one stay too": {one + "# the end\n", done, "# the end\n" + two},
	} {
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, []byte(c.before), 0o640); err != nil {
			t.Fatal(err)
		}
		bus.TLS{CA: path}.FollowTrust(c.set, slog.New(slog.DiscardHandler))
		after, err := os.ReadFile(path)
		if err != nil || string(after) != c.after {
			t.Errorf("%s: it holds %q, want %q: %v", name, after, c.after, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestTheFileOfAnIdentityDirectoryIsTheOriginal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "operator.jwt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"ca", "."} {
		path := filepath.Join(dir, sub, "ca.pem")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(certificate("one")), 0o600); err != nil {
			t.Fatal(err)
		}
		bus.TLS{CA: path}.FollowTrust(message.TrustSet{Authorities: certificate("one") + certificate("two")}, slog.New(slog.DiscardHandler))
		if after, err := os.ReadFile(path); err != nil || string(after) != certificate("one") {
			t.Errorf("%s was written: %q %v", path, after, err)
		}
	}
	// Through a link to somewhere else the file there is kept, and the link stays.
	target, link := filepath.Join(t.TempDir(), "real.pem"), filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(target, []byte(certificate("one")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	bus.TLS{CA: link}.FollowTrust(message.TrustSet{Authorities: certificate("one") + certificate("two")}, slog.New(slog.DiscardHandler))
	if after, err := os.ReadFile(target); err != nil || string(after) != certificate("one")+certificate("two") {
		t.Errorf("the file behind a link: %q %v", after, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is none any more", err)
	}
}
