package host

import "testing"

func TestTheOperatingSystemIsNamedAsItNamesItself(t *testing.T) {
	for text, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n": "debian-12",
		"ID=arch\nBUILD_ID=rolling\n":    "arch",
		"ID='alpine'\nVERSION_ID=3.19.1": "alpine-3.19.1",
		"":                               "",
	} {
		if got := osOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
