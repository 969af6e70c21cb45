package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// diskNode is a node whose state, configuration and logs are on a small file
// system of their own. What it holds in /run is elsewhere, as on a real host.
type diskNode struct {
	*node
	dir string
}

// newDiskNode mounts it. ok is false where this process may not, as without root.
func newDiskNode(t *testing.T, options string) (n diskNode, ok bool) {
	t.Helper()
	dir := newDir(t)
	r, err := host.Run(t.Context(), host.Command{Path: "mount", Args: []string{"-t", "tmpfs", "-o", "mode=711," + options, "fairlead-test", dir}})
	must(t, err)
	if r.ExitCode != 0 {
		t.Logf("no file system of a size can be made here: %s", r.Stderr)
		must(t, os.Remove(dir))
		return n, false
	}
	t.Cleanup(func() { // after nginx has ended
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		_ = os.Remove(dir)
	})
	run := newDir(t)
	t.Cleanup(func() { os.RemoveAll(run) })
	return diskNode{newNodeIn(t, dir, run), dir}, true
}

// fill leaves so many bytes of the file system free, in whole pages.
func (n diskNode) fill(left int64) {
	n.t.Helper()
	file, err := os.OpenFile(filepath.Join(n.dir, "ballast"), os.O_CREATE|os.O_WRONLY, 0o600)
	must(n.t, err)
	defer file.Close()
	page := make([]byte, os.Getpagesize())
	for err == nil {
		_, err = file.Write(page)
	}
	info, err := file.Stat()
	must(n.t, err)
	must(n.t, file.Truncate(max(0, info.Size()-left)))
}

// fillInodes leaves room for so many files.
func (n diskNode) fillInodes(left int) {
	n.t.Helper()
	dir := filepath.Join(n.dir, "ballast")
	must(n.t, os.Mkdir(dir, 0o700))
	made := 0
	for ; ; made++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(made)))
		if err != nil {
			break
		}
		f.Close()
	}
	for i := range min(left, made) {
		must(n.t, os.Remove(filepath.Join(dir, fmt.Sprint(i))))
	}
}

func (n diskNode) free() {
	n.t.Helper()
	must(n.t, os.RemoveAll(filepath.Join(n.dir, "ballast")))
}

// left names what lies in the state directory beside what belongs to versions
// that are complete, and beside the engine's own records.
func (n diskNode) left() (strays []string) {
	n.t.Helper()
	for _, under := range []string{"versions", "pristine"} {
		entries, _ := os.ReadDir(filepath.Join(n.cfg.State, under))
		for _, e := range entries {
			for _, needed := range []string{"versions/" + e.Name() + "/manifest.json", "pristine/" + e.Name() + "/files.tar"} {
				if info, err := os.Stat(filepath.Join(n.cfg.State, needed)); err != nil || info.Size() == 0 {
					strays = append(strays, under+"/"+e.Name()+" without "+filepath.Base(needed))
				}
			}
		}
	}
	must(n.t, filepath.WalkDir(n.dir, func(path string, d os.DirEntry, err error) error {
		if name := d.Name(); strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".new") {
			strays = append(strays, path)
		}
		return err
	}))
	return strays
}

// tries applies a change while little is free, and checks that it serves as a
// whole or not at all, and that the next one does once there is room.
func (n diskNode) tries(revision uint64, wants func(text string) []fleet.Resource, port int) (failed bool) {
	n.t.Helper()
	before, serves := n.status(), n.get(port, "web.example.org", "/")
	text := fmt.Sprint(revision)
	o, err := n.converge(revision, wants(text)...)
	if err == nil {
		if got := n.get(port, "web.example.org", "/"); !o.Whole() || got != "200 "+text {
			n.t.Errorf("%s, and the site answers %q", o.Summary(), got)
		}
	} else {
		if !strings.Contains(err.Error(), "no space left on device") {
			n.t.Errorf("the reason is not plain: %v", err)
		}
		after := n.status()
		if got := n.get(port, "web.example.org", "/"); got != serves || after.Running != before.Running || after.Disk != before.Disk || after.Revision != before.Revision || len(after.Quarantine) > 0 {
			n.t.Errorf("the site answers %q, before %q; %+v, before %+v", got, serves, after, before)
		}
		if left := n.left(); len(left) > 0 {
			n.t.Errorf("after %v there are %v", err, left)
		}
		n.t.Logf("with %d bytes free: %v", n.room(), err)
	}
	n.free()
	text += "a"
	if o := n.mustConverge(revision+1, wants(text)...); !o.Whole() || n.get(port, "web.example.org", "/") != "200 "+text {
		n.t.Errorf("with room: %s", o.Summary())
	}
	return err != nil
}

func (n diskNode) room() uint64 {
	var s syscall.Statfs_t
	must(n.t, syscall.Statfs(n.dir, &s))
	return s.Bavail * uint64(s.Bsize)
}

// wants is a site and a host with a key, on two ports.
func (n diskNode) wants(port, tls int) func(string) []fleet.Resource {
	c := anyCertificate(n.t)
	return func(text string) []fleet.Resource {
		return []fleet.Resource{site("web", port, text), c, resource("tls", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: tls, TLS: true}}, ServerNames: []string{"h.example.org"},
			TLS: &fleet.TLS{Certificate: "c"}, Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: text}}}})}
	}
}

// The disk is full at every step of a change.
func TestAFullDiskHurtsNothing(t *testing.T) {
	n, ok := newDiskNode(t, "size=4m")
	if !ok {
		return
	}
	port := n.freePort()
	wants := n.wants(port, n.freePort())
	n.mustConverge(1, wants("1")...)
	revision := uint64(2)
	for left := int64(0); ; left += 4 * int64(os.Getpagesize()) {
		n.fill(left)
		if failed := n.tries(revision, wants, port); !failed {
			break
		}
		revision += 2
	}
	if revision == 2 {
		t.Error("nothing failed on a full disk")
	}
}

func TestADiskWithoutInodesHurtsNothing(t *testing.T) {
	n, ok := newDiskNode(t, "nr_inodes=400")
	if !ok {
		return
	}
	port := n.freePort()
	wants := n.wants(port, n.freePort())
	n.mustConverge(1, wants("1")...)
	revision := uint64(2)
	for left := 0; ; left += 2 {
		n.fillInodes(left)
		if failed := n.tries(revision, wants, port); !failed {
			break
		}
		revision += 2
	}
	if revision == 2 {
		t.Error("nothing failed without inodes")
	}
}

// What needs no room goes on: an agent that starts anew, and nginx that dies.
func TestNginxComesBackOnAFullDisk(t *testing.T) {
	n, ok := newDiskNode(t, "size=4m")
	if !ok {
		return
	}
	port := n.freePort()
	n.mustConverge(1, site("web", port, "1"))
	n.fill(0)
	pid := n.status().PID
	if _, err := n.Reload(t.Context(), false, 0); err != nil {
		t.Error(err)
	}
	n.crash()
	n.start()
	n.looked()
	if slices.Contains(n.told(), nginx.EventReloaded) {
		t.Error("the agent's own reload is told of as somebody else's")
	}
	if s := n.status(); s.PID != pid || s.Revision != 1 || n.get(port, "web.example.org", "/") != "200 1" {
		t.Errorf("a new engine finds %+v", s)
	}
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "nginx serves again", func() bool { return n.status().PID != pid && n.get(port, "web.example.org", "/") == "200 1" })
	n.free()
	if o := n.mustConverge(2, site("web", port, "2")); !o.Whole() || n.get(port, "web.example.org", "/") != "200 2" {
		t.Error(o.Summary())
	}
}
