package bus_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
)

// contextHome gives the test a configuration directory of its own.
func contextHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	return filepath.Join(dir, "nats")
}

func save(t *testing.T, contexts ...bus.Context) {
	t.Helper()
	for _, c := range contexts {
		if err := bus.SaveContext(c); err != nil {
			t.Fatal(err)
		}
	}
}

func refused(t *testing.T, err error, kind fleet.Kind, parts ...string) {
	t.Helper()
	if fleet.KindOf(err) != kind {
		t.Errorf("%v is %q, want %q", err, fleet.KindOf(err), kind)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q says nothing of %q", err, part)
		}
	}
}

func TestAContextIsReadAsWritten(t *testing.T) {
	home := contextHome(t)
	want := bus.Context{
		Name: "fairlead-dev", Description: "this host", URL: "nats://127.0.0.1:4222", Creds: "/x/admin.creds",
		CA: "/ca", Cert: "/cert", Key: "/key", TLSFirst: true, InboxPrefix: "_INBOX.admin", Token: "t", User: "u",
		Password: "p", NKey: "/n", UserJWT: "j", Domain: "d",
	}
	save(t, want)
	if got, err := bus.LoadContext("fairlead-dev"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(home, "context", "fairlead-dev.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func TestRewritingAContextKeepsUnknownFields(t *testing.T) {
	home := contextHome(t)
	path := filepath.Join(home, "context", "a.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	before := `{"url":"nats://old","creds":"~/x.creds","socks_proxy":"socks5://p","windows_ca_certs_match":["y"],"later":{"n":1}}`
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := bus.LoadContext("a")
	if err != nil {
		t.Fatal(err)
	}
	if user, _ := os.UserHomeDir(); c.Creds != filepath.Join(user, "x.creds") {
		t.Error("home is not expanded:", c.Creds)
	}
	c.URL = "nats://new"
	save(t, c)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var after map[string]any
	if err := json.Unmarshal(data, &after); err != nil {
		t.Fatal(err)
	}
	later, _ := after["later"].(map[string]any)
	if after["url"] != "nats://new" || after["socks_proxy"] != "socks5://p" || later["n"] != 1.0 || after["windows_ca_certs_match"] == nil {
		t.Errorf("%s", data)
	}
}

func TestTheSelectedContextIsUsedWhenNoneIsNamed(t *testing.T) {
	home := contextHome(t)
	save(t, bus.Context{Name: "a", URL: "nats://a"}, bus.Context{Name: "b", URL: "nats://b"})
	for _, name := range []string{"a", "b"} {
		if err := bus.SelectContext(name); err != nil {
			t.Fatal(err)
		}
		if c, err := bus.LoadContext(""); err != nil || c.Name != name {
			t.Error(c, err)
		}
	}
	if previous, err := os.ReadFile(filepath.Join(home, "previous-context.txt")); err != nil || string(previous) != "a" {
		t.Errorf("previous: %q, %v", previous, err)
	}
	if err := bus.RemoveContext("b"); err != nil {
		t.Fatal(err)
	}
	if name, err := bus.SelectedContext(); name != "" || err != nil {
		t.Error("selected after its removal:", name, err)
	}
	if names, err := bus.Contexts(); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Error(names, err)
	}
}

func TestContextErrorsSayWhatThereIs(t *testing.T) {
	home := contextHome(t)
	_, err := bus.LoadContext("")
	refused(t, err, fleet.Invalid, "no context is selected", "there is none yet")

	save(t, bus.Context{Name: "a"}, bus.Context{Name: "b"})
	_, err = bus.LoadContext("")
	refused(t, err, fleet.Invalid, "no context is selected", "--context", "a, b")
	_, err = bus.LoadContext("c")
	refused(t, err, fleet.Unknown, `no context "c"`, "a, b")
	refused(t, bus.SelectContext("c"), fleet.Unknown, "a, b")
	refused(t, bus.SelectContext(""), fleet.Invalid)
	refused(t, bus.RemoveContext("c"), fleet.Unknown, "a, b")
	for _, name := range []string{"../x", "a/b"} {
		_, err = bus.LoadContext(name)
		refused(t, err, fleet.Invalid, name)
		refused(t, bus.SaveContext(bus.Context{Name: name}), fleet.Invalid, name)
	}

	path := filepath.Join(home, "context", "a.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = bus.LoadContext("a")
	refused(t, err, fleet.Invalid, path)
	refused(t, bus.SaveContext(bus.Context{Name: "a"}), fleet.Invalid, path)

	if err := os.Symlink(t.TempDir(), filepath.Join(home, "context", "dir.json")); err != nil {
		t.Fatal(err)
	}
	_, err = bus.LoadContext("dir") // a directory cannot be read, not even by root
	refused(t, err, fleet.Invalid, `context "dir"`)
}
