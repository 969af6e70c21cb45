package adopt_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/adopt"
	"fairlead/pkg/fleet"
)

func TestWhatNginxWouldChokeOnIsRefusedInWords(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ content, want string }{
		"itself.conf":  {"events { }\ninclude " + filepath.Join(dir, "itself.conf") + ";\n", "include cycle"},
		"circle.conf":  {"http { include " + filepath.Join(dir, "back.inc") + "; }\n", "include cycle"},
		"fifo.conf":    {"events { }\nhttp { include " + fifo + "; }\n", "no regular file"},
		"unknown.conf": {"events { }\nhttp { server { listen 80\n } }\n", "unknown.conf"},
		"binary.conf":  {"\x00\x01\x02;", "NUL"},
		"context.conf": {"server { listen 80; }\n", "not allowed here"},
		"empty.conf":   {"", ""},
	} {
		write("back.inc", "include "+filepath.Join(dir, "circle.conf")+";\n")
		conf, err := adopt.Read(write(name, c.content), dir)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if r := conf.Convert(adopt.Options{}); len(r.Resources) != 0 {
				t.Errorf("%s becomes %v", name, r.Resources)
			}
			continue
		}
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an Invalid error with %q", name, err, c.want)
		}
	}
	if _, err := adopt.Read(filepath.Join(dir, "none.conf"), dir); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestAnIncludeThatNoFileMatchesLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	text := "events { }\nhttp { include conf.d/*.conf; server { listen 80; include extra/*.inc; location / { root /srv; } } }\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	conf, err := adopt.Read(path, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range conf.Convert(adopt.Options{}).Resources {
		if c, ok := r.Spec.(*fleet.ConfigFile); ok && strings.Contains(c.Content, "include") {
			t.Errorf("%s holds what a ConfigFile may not:\n%s", r.ID(), c.Content)
		}
	}
}
