package identity_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestTheStationsKeysAreMadeOnceAndVouchedForByTheAccountOfEveryUser(t *testing.T) {
	dir := t.TempDir()
	a, err := identity.Open(dir, identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path, err := a.StationKeys()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	first, err := identity.LoadStationKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.StationKeys(); err != nil || again != path {
		t.Fatal(again, err)
	}
	if second, err := identity.LoadStationKeys(path); err != nil || second.Curve.Public() != first.Curve.Public() {
		t.Error("the key was made anew", err)
	}
	user, err := a.User("olga", subjects.Operator)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := identity.LoadCreds(user.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := message.CheckVoucher(creds.AccountKey(), first.Curve.Public(), first.Curve.Voucher); err != nil {
		t.Error(err)
	}
}

func TestAFileOfStationsKeysThatIsNotWholeOrOpenToOthersIsRefusedAndNotShown(t *testing.T) {
	a, err := identity.Open(t.TempDir(), identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path, err := a.StationKeys()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadStationKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := message.NewCurve()
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Split(string(whole), `"`)[7]
	for what, text := range map[string]string{
		"rubbish":      own,
		"another seed": strings.Replace(string(whole), own, string(other), 1),
		"cut off":      string(whole[:len(whole)/2]),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.LoadStationKeys(path); err == nil || strings.Contains(err.Error(), own) || strings.Contains(err.Error(), string(other)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(os.WriteFile(path, whole, 0o600), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadStationKeys(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
}

func TestATrustSetNamesTheKeyThatSecretsAreSealedTo(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	path, err := a.StationKeys()
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.LoadStationKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := trusted(t, a).Curve; got != c.Curve.Public() {
		t.Errorf("named is %q", got)
	}
}
