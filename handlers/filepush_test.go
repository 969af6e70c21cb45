package handlers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// fakeBlobs has one file, in a directory of its own.
type fakeBlobs struct {
	dir     string
	content string
	err     error
	fetched int
	forgot  int
	placing []string
}

func (f *fakeBlobs) Begun(string) (string, int64) { return f.dir, 0 }
func (f *fakeBlobs) Forget(string)                { f.forgot++ }

// Placing writes down the file and what of it is there when that is over.
func (f *fakeBlobs) Placing(dir, name string) (func(), error) {
	f.placing = append(f.placing, name)
	return func() {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			f.placing = append(f.placing, name+" is left")
		}
	}, nil
}

func (f *fakeBlobs) Fetch(context.Context, string, time.Time) (io.ReadCloser, error) {
	f.fetched++
	if f.err != nil {
		return nil, f.err
	}
	path := filepath.Join(f.dir, "parts")
	if err := os.WriteFile(path, []byte(f.content), 0o600); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// pushNode is a node that takes files into one directory, with another beside it.
type pushNode struct {
	*handlers.Node
	blobs        *fakeBlobs
	dir, outside string
}

func newPushNode(t *testing.T, content string) pushNode {
	t.Helper()
	top := t.TempDir()
	n := pushNode{blobs: &fakeBlobs{dir: filepath.Join(top, "state"), content: content}, dir: filepath.Join(top, "www"), outside: filepath.Join(top, "outside")}
	for _, dir := range []string{n.blobs.dir, n.dir, n.outside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.Node = &handlers.Node{Name: "ship1", Blobs: n.blobs, PushDirs: []string{n.dir}}
	return n
}

// push is the body for a content.
func push(content, path string, change func(*handlers.FilePushBody)) string {
	sum := sha256.Sum256([]byte(content))
	b := handlers.FilePushBody{List: strings.Repeat("ab", 32), Digest: hex.EncodeToString(sum[:]), Size: int64(len(content)), Path: path}
	if change != nil {
		change(&b)
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// holds holds a directory to its files, as "path mode content", and to no other.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		info, ierr := d.Info()
		name, _ := filepath.Rel(dir, path)
		got = append(got, fmt.Sprintf("%s %04o %s", name, info.Mode().Perm(), text))
		if err == nil {
			err = ierr
		}
		return err
	})
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s holds %q, %v; want %q", dir, got, err, want)
	}
}

func TestAPushedFileIsInItsPlaceWithItsMode(t *testing.T) {
	n := newPushNode(t, "new")
	for _, path := range []string{"a/b/page.html", n.dir + "/a/b/page.html"} {
		r, err := run(t, n.Node, "filepush", push("new", path, func(b *handlers.FilePushBody) { b.Mode = "0640" }))
		if err != nil || !r.Changed && n.blobs.fetched == 0 {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
		if p, ok := r.Data.(handlers.FilePushed); !ok || p.Path != n.dir+"/a/b/page.html" || p.Bytes != 3 {
			t.Errorf("%s: %+v", path, r.Data)
		}
	}
	holds(t, n.dir, "a/b/page.html 0640 new")
	if want := "a/b/.fairlead-abababababababab.part"; !slices.Equal(n.blobs.placing, []string{want}) {
		t.Errorf("it was kept in mind that these were made: %q, want %q", n.blobs.placing, want)
	}
	if n.blobs.fetched != 1 || n.blobs.forgot != 2 {
		t.Errorf("it was fetched %d times, forgotten %d", n.blobs.fetched, n.blobs.forgot)
	}
}

func TestTheSameFileAgainIsUnchangedAndNotFetched(t *testing.T) {
	n := newPushNode(t, "")
	path := filepath.Join(n.dir, "page.html")
	if err := os.WriteFile(path, []byte("same"), 0o600); err != nil {
		t.Fatal(err)
	}
	mode := func(b *handlers.FilePushBody) { b.Mode = "0755" }
	r, err := run(t, n.Node, "filepush", push("same", "page.html", mode))
	if err != nil || !r.Changed || !strings.Contains(r.Message, "mode or owner are others now") {
		t.Errorf("with another mode: %+v, %v", r, err)
	}
	r, err = run(t, n.Node, "filepush", push("same", "page.html", mode))
	if err != nil || r.Changed || r.Message != path+": unchanged" {
		t.Errorf("again: %+v, %v", r, err)
	}
	if n.blobs.fetched != 0 {
		t.Error("it was fetched")
	}
	holds(t, n.dir, "page.html 0755 same")
}

func TestAFileOfTheSameSizeIsReplaced(t *testing.T) {
	n := newPushNode(t, "same")
	if err := os.WriteFile(filepath.Join(n.dir, "page.html"), []byte("some"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	r, err := run(t, n.Node, "filepush", push("same", "page.html", func(b *handlers.FilePushBody) { b.Owner = owner.Username }))
	if err != nil || !r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
	holds(t, n.dir, "page.html 0644 same")
}

func TestAnEmptyFileIsAFile(t *testing.T) {
	n := newPushNode(t, "")
	if r, err := run(t, n.Node, "filepush", push("", "empty", nil)); err != nil || !r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
	holds(t, n.dir, "empty 0644 ")
}

// What lies in the directory may be somebody else's who means ill.
func TestNothingOutsideOfThePushDirectoryIsTouched(t *testing.T) {
	n := newPushNode(t, "evil")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(n.outside, "victim"), []byte("good"), 0o600))
	must(os.Symlink(n.outside, filepath.Join(n.dir, "out")))
	must(os.Symlink("../outside", filepath.Join(n.dir, "relative")))
	must(os.Symlink(filepath.Join(n.outside, "victim"), filepath.Join(n.dir, "link")))
	must(os.Symlink("nowhere", filepath.Join(n.dir, "dangling")))
	must(os.Mkdir(filepath.Join(n.dir, "dir"), 0o755))
	must(syscall.Mkfifo(filepath.Join(n.dir, "pipe"), 0o600))
	must(os.WriteFile(filepath.Join(n.dir, "file"), []byte("mine"), 0o644))
	// A hard link is the same file: it is replaced, and the other name stays.
	must(os.Link(filepath.Join(n.outside, "victim"), filepath.Join(n.dir, "hard")))
	// Also where it has the content already, and lacks but the mode.
	must(os.WriteFile(filepath.Join(n.outside, "twin"), []byte("evil"), 0o600))
	must(os.Link(filepath.Join(n.outside, "twin"), filepath.Join(n.dir, "same")))
	for path, want := range map[string]struct {
		kind fleet.Kind
		says string
	}{
		"../outside/victim":           {fleet.Invalid, "without . and .."},
		"a/../../outside/victim":      {fleet.Invalid, "without . and .."},
		n.dir + "/../outside/victim":  {fleet.Invalid, "without . and .."},
		"./x":                         {fleet.Invalid, "without . and .."},
		"":                            {fleet.Invalid, "name a file"},
		"dir/":                        {fleet.Invalid, "name the file"},
		"/":                           {fleet.Invalid, "name the file"},
		"a\nb":                        {fleet.Invalid, "name a file"},
		"a\x00b":                      {fleet.Invalid, "name a file"},
		n.outside + "/victim":         {fleet.Refused, "--push-dir"},
		n.dir + "x/victim":            {fleet.Refused, "--push-dir"},
		n.dir:                         {fleet.Refused, "--push-dir"},
		"/etc/passwd":                 {fleet.Refused, "--push-dir"},
		"out/victim":                  {fleet.Failed, "escapes"},
		"relative/victim":             {fleet.Failed, "escapes"},
		"out/new/file":                {fleet.Failed, "escapes"},
		"link":                        {fleet.Refused, "a symbolic link"},
		"dangling":                    {fleet.Refused, "a symbolic link"},
		"dir":                         {fleet.Refused, "a directory"},
		"pipe":                        {fleet.Refused, "a named pipe"},
		"file/below":                  {fleet.Failed, "not a directory"},
		strings.Repeat("x", 300):      {fleet.Failed, "name too long"},
		"deep/" + n.dir + "/../../xx": {fleet.Invalid, "without . and .."},
	} {
		_, err := run(t, n.Node, "filepush", push("evil", path, nil))
		if fleet.KindOf(err) != want.kind || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%.60q: %v (%s), want %s and %q", path, err, fleet.KindOf(err), want.kind, want.says)
		}
	}
	for _, path := range []string{"hard", "same"} {
		if _, err := run(t, n.Node, "filepush", push("evil", path, nil)); err != nil {
			t.Error(err)
		}
	}
	holds(t, n.outside, "twin 0600 evil", "victim 0600 good")
	holds(t, n.dir, "file 0644 mine", "hard 0644 evil", "same 0644 evil")
}

func TestAPushThatIsNotInOrderIsRefused(t *testing.T) {
	n := newPushNode(t, "x")
	for says, change := range map[string]func(*handlers.FilePushBody){
		"mode \"4755\"":             func(b *handlers.FilePushBody) { b.Mode = "4755" },
		"mode \"rw\"":               func(b *handlers.FilePushBody) { b.Mode = "rw" },
		"list \"x\" is not":         func(b *handlers.FilePushBody) { b.List = "x" },
		"digest \"../x\" is":        func(b *handlers.FilePushBody) { b.Digest = "../x" },
		"size is -1":                func(b *handlers.FilePushBody) { b.Size = -1 },
		"size is 1073741825":        func(b *handlers.FilePushBody) { b.Size = message.MaxBlob + 1 },
		"no such user":              func(b *handlers.FilePushBody) { b.Owner = "nobody-of-that-name" },
		"no group \"none-of-that\"": func(b *handlers.FilePushBody) { b.Owner = "root:none-of-that" },
	} {
		if _, err := run(t, n.Node, "filepush", push("x", "page", change)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	n.PushDirs = nil
	_, err := run(t, n.Node, "filepush", push("x", "page", nil))
	kind(t, err, fleet.Refused)
	if err == nil || !strings.Contains(err.Error(), "--push-dir says into which directories") {
		t.Error(err)
	}
	if n.blobs.fetched != 0 {
		t.Error("something was fetched for it")
	}
	holds(t, n.dir)
}

func TestPartsThatMakeAnotherFileChangeNothing(t *testing.T) {
	n := newPushNode(t, "others")
	if err := os.WriteFile(filepath.Join(n.dir, "page"), []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := run(t, n.Node, "filepush", push("wanted", "page", nil))
	kind(t, err, fleet.Failed)
	n.blobs.err = fleet.Errorf(fleet.Expired, "over")
	_, err = run(t, n.Node, "filepush", push("wanted", "page", nil))
	kind(t, err, fleet.Expired)
	holds(t, n.dir, "page 0644 before")
}

func TestAFileForWhichThereIsNoRoomIsNotFetched(t *testing.T) {
	n := newPushNode(t, "")
	if err := syscall.Mount("tmpfs", n.dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Logf("no small file system here: %v", err) // only root can make one
		return
	}
	defer func() { _ = syscall.Unmount(n.dir, syscall.MNT_DETACH) }()
	_, err := run(t, n.Node, "filepush", push("x", "page", func(b *handlers.FilePushBody) { b.Size = 64 << 20 }))
	kind(t, err, fleet.Busy)
	if err == nil || !strings.Contains(err.Error(), "no room in "+n.dir) || n.blobs.fetched != 0 {
		t.Errorf("%v, fetched %d times", err, n.blobs.fetched)
	}
	n.blobs.content = "y"
	if _, err := run(t, n.Node, "filepush", push("y", "page", nil)); err != nil {
		t.Error(err)
	}
}
