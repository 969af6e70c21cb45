package nginx_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// version is the directory of the version that the link names.
func (n *node) version() string {
	n.t.Helper()
	target, err := os.Readlink(n.link())
	if err != nil {
		n.t.Fatal(err)
	}
	return filepath.Dir(target)
}

func (n *node) link() string { return filepath.Join(n.cfg.Conf, "nginx.conf") }

// hostFile is where the site called name lies.
func (n *node) hostFile(name string) string {
	return filepath.Join(n.version(), "http.d", "virtualhost-"+name+".conf")
}

// editFile replaces a text in a file, as sed -i does not: in place.
func editFile(t *testing.T, path, old, new string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, new)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hasText(path, text string) bool {
	data, err := os.ReadFile(path)
	return err == nil && strings.Contains(string(data), text)
}

// looked waits until the engine found everything right once, so that what
// comes next is told from what was.
func (n *node) looked() {
	n.t.Helper()
	eventually(n.t, "the files were looked at", n.FilesRight)
}

// told is the events so far, without their texts.
func (n *node) told() (all []string) {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	for _, line := range n.events.all {
		event, _, _ := strings.Cut(line, ": ")
		all = append(all, event)
	}
	return all
}

func driftPolicy(mode string) fleet.Resource {
	return resource("all", &fleet.NodePolicy{Drift: mode})
}

// hangUp has another process tell nginx to reload.
func hangUp(t *testing.T, pid int) {
	t.Helper()
	r, err := host.Run(t.Context(), host.Command{Path: "kill", Args: []string{"-HUP", strconv.Itoa(pid)}})
	if err != nil || r.ExitCode != 0 {
		t.Fatal(err, r.ExitCode)
	}
}

func TestAHandEditIsHealedWithoutAReload(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	v := n.mustApply(1, site("web", port, "hello"))
	n.looked()
	workers, file := n.workers(), n.hostFile("web")
	began := time.Now()
	editFile(t, file, "hello", "by hand")
	n.wantEvent(nginx.EventHealed, "http.d/virtualhost-web.conf (edited)", "a copy is in "+n.cfg.State+"/forensics/")
	t.Logf("healed and told after %v", time.Since(began))
	if !hasText(file, "hello") || n.workers() != workers || n.get(port, "web.example.org", "/") != "200 hello" {
		t.Errorf("workers %s, before %s; %s", n.workers(), workers, n.get(port, "web.example.org", "/"))
	}
	d := n.status().Drift
	if d == nil || d.State != nginx.DriftHealed || d.Healed != 1 || len(d.Files) != 1 || d.Files[0].Path != "http.d/virtualhost-web.conf" || d.Now() {
		t.Errorf("drift %+v", d)
	}
	copies, _ := filepath.Glob(filepath.Join(n.cfg.State, "forensics", "*", "files", "http.d", "virtualhost-web.conf"))
	if len(copies) != 1 || !hasText(copies[0], "by hand") {
		t.Fatalf("copies %v", copies)
	}
	if info, err := os.Stat(copies[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if again := n.mustApply(1, site("web", port, "hello")); again.Changed || again.Digest != v.Digest {
		t.Errorf("%+v", again)
	}
}

func TestEveryKindOfChangeIsHealed(t *testing.T) {
	other := t.TempDir()
	for name, c := range map[string]struct {
		change func(t *testing.T, n *node)
		wants  string
	}{
		"missing": {func(t *testing.T, n *node) { must(t, os.Remove(n.hostFile("web"))) }, "virtualhost-web.conf (missing)"},
		"extra": {func(t *testing.T, n *node) {
			must(t, os.WriteFile(n.version()+"/http.d/x.conf", []byte("server {"), 0o644))
		}, "http.d/x.conf (extra)"},
		"extra pipe": {func(t *testing.T, n *node) { must(t, syscall.Mkfifo(n.version()+"/http.d/x.conf", 0o644)) }, "http.d/x.conf (extra: it is a named pipe)"},
		"extra tree": {func(t *testing.T, n *node) { must(t, os.MkdirAll(n.version()+"/a/b/c", 0o755)) }, "a (extra: it is a directory)"},
		"mode":       {func(t *testing.T, n *node) { must(t, os.Chmod(n.hostFile("web"), 0o666)) }, "virtualhost-web.conf (mode: 0666, not 0600)"},
		"directory":  {func(t *testing.T, n *node) { must(t, os.Chmod(n.version()+"/http.d", 0o777)) }, "http.d (mode: 0777, not 0700)"},
		"owner":      {func(t *testing.T, n *node) { must(t, os.Chown(n.hostFile("web"), 1, 1)) }, "virtualhost-web.conf (owner: 1:1, not 0:0)"},
		"manifest": {func(t *testing.T, n *node) {
			editFile(t, n.version()+"/manifest.json", "\"revision\": 1", "\"revision\": 9")
		}, "manifest.json (edited)"},
		"became a link": {func(t *testing.T, n *node) {
			must(t, os.Remove(n.hostFile("web")))
			must(t, os.Symlink("/etc/passwd", n.hostFile("web")))
		}, "virtualhost-web.conf (replaced: it is a symbolic link)"},
		"became a pipe": {func(t *testing.T, n *node) {
			f := n.hostFile("web")
			must(t, os.Remove(f))
			must(t, syscall.Mkfifo(f, 0o600))
		}, "virtualhost-web.conf (replaced: it is a named pipe)"},
		"directory elsewhere": {func(t *testing.T, n *node) {
			dir := n.version() + "/http.d"
			must(t, os.CopyFS(other+"/http.d", os.DirFS(dir)))
			must(t, os.RemoveAll(dir))
			must(t, os.Symlink(other+"/http.d", dir))
		}, "http.d (replaced: it is a symbolic link)"},
		"all of it":      {func(t *testing.T, n *node) { must(t, os.RemoveAll(n.version())) }, ". (missing)"},
		"link gone":      {func(t *testing.T, n *node) { must(t, os.Remove(n.link())) }, "nginx.conf (link: it is gone)"},
		"link is a file": {func(t *testing.T, n *node) { replaceByFile(t, n.link(), "events {}\n") }, "nginx.conf (link: it is no link any more)"},
		"link elsewhere": {func(t *testing.T, n *node) {
			must(t, os.Remove(n.link()))
			must(t, os.Symlink("/etc/passwd", n.link()))
		}, "nginx.conf (link: it names /etc/passwd)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			port := n.freePort()
			n.mustApply(1, site("web", port, "hello"))
			n.looked()
			version, workers := n.version(), n.workers()
			before := tree(t, version)
			c.change(t, n)
			n.wantEvent(nginx.EventHealed, c.wants)
			if after := tree(t, version); after != before {
				t.Errorf("after:\n%s\nbefore:\n%s", after, before)
			}
			if n.version() != version || n.workers() != workers {
				t.Errorf("linked %s, workers %s; before %s, %s", n.version(), n.workers(), version, workers)
			}
			n.mustApply(2, site("web", port, "and on"))
			if got := n.get(port, "web.example.org", "/"); got != "200 and on" {
				t.Error(got)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree is names, modes and contents below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := []byte{}
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		b.WriteString(strings.TrimPrefix(path, dir) + " " + info.Mode().String() + " " + string(content) + "\n")
		return err
	}))
	return b.String()
}

func TestWhatNginxMayHaveReadIsHealedWithAReload(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, driftPolicy(fleet.DriftReport), site("web", port, "hello"))
	n.looked()
	editFile(t, n.hostFile("web"), "hello", "by hand")
	n.wantEvent(nginx.EventDrifted, "virtualhost-web.conf (edited)", "policy")
	hangUp(t, n.status().PID)
	eventually(t, "nginx serves what was written by hand", func() bool { return n.get(port, "web.example.org", "/") == "200 by hand" })
	n.wantEvent(nginx.EventReloaded, "told nginx to reload", "virtualhost-web.conf (edited)")
	if d := n.status().Drift; d == nil || d.State != nginx.DriftSeen || d.Healed != 0 {
		t.Errorf("drift %+v", d)
	}
	n.mustApply(2, driftPolicy(fleet.DriftEnforce), site("web", port, "hello"))
	n.looked()

	// By hand and reloaded before anybody could look.
	file := n.hostFile("web")
	editFile(t, file, "hello", "by hand")
	hangUp(t, n.status().PID)
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
	eventually(t, "nginx serves what it should", func() bool { return n.get(port, "web.example.org", "/") == "200 hello" })
	if !hasText(file, "hello") {
		t.Error("the file is not healed")
	}
}

func TestAReloadWhileTheAgentWasAwayIsNoticed(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	before, pid := n.workers(), n.status().PID
	n.crash()
	file := n.hostFile("web")
	editFile(t, file, "hello", "by hand")
	hangUp(t, pid)
	eventually(t, "nginx serves what was written by hand", func() bool { return n.get(port, "web.example.org", "/") == "200 by hand" })
	n.start()
	n.wantEvent(nginx.EventReloaded, "somebody told nginx to reload")
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" || n.workers() == before {
		t.Error(got)
	}
}

func TestTheAgentsOwnReloadIsNobodyElsesAfterARestart(t *testing.T) {
	n := newNode(t)
	n.mustApply(1, site("web", n.freePort(), "hello"))
	if _, err := n.Reload(t.Context(), false, 0); err != nil {
		t.Fatal(err)
	}
	n.crash()
	n.start()
	n.looked()
	if slices.Contains(n.told(), nginx.EventReloaded) {
		t.Error(n.told())
	}
}

func TestDriftIsFoundWhenTheAgentStarts(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	n.crash()
	file := n.hostFile("web")
	editFile(t, file, "hello", "by hand")
	replaceByFile(t, n.link(), "events {}\n")
	n.start()
	n.wantEvent(nginx.EventHealed, "nginx.conf (link: it is no link any more)")
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
	if slices.Contains(n.told(), nginx.EventReloaded) {
		t.Error(n.told())
	}
	if !hasText(file, "hello") || n.get(port, "web.example.org", "/") != "200 hello" {
		t.Error("not healed")
	}
}

func TestALinkThatWasReplacedIsLeftByThePolicyAndOverAStart(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, driftPolicy(fleet.DriftReport), site("web", port, "hello"))
	n.looked()
	workers := n.workers()
	replaceByFile(t, n.link(), "events {}\n")
	n.wantEvent(nginx.EventDrifted, "nginx.conf (link: it is no link any more)")
	n.crash()
	n.start()
	eventually(t, "it is noticed again", func() bool { return n.status().Drift.Now() })
	if !hasText(n.link(), "events {}") || n.workers() != workers {
		t.Error("it was not left")
	}
	n.mustApply(2, driftPolicy(fleet.DriftReport), site("web", port, "hello"))
	if hasText(n.link(), "events {}\n") || n.get(port, "web.example.org", "/") != "200 hello" {
		t.Error("the next revision did not replace it")
	}
	copies, _ := filepath.Glob(filepath.Join(n.cfg.State, "forensics", "*", "files", "link"))
	if len(copies) != 1 || !hasText(copies[0], "events {}") {
		t.Errorf("copies %v", copies)
	}
}

func TestAdoptLeavesItUntilTheNextRevision(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, driftPolicy(fleet.DriftAdopt), site("web", port, "hello"))
	n.looked()
	file := n.hostFile("web")
	editFile(t, file, "hello", "by hand")
	n.wantEvent(nginx.EventDrifted, "virtualhost-web.conf (edited)", "until the next revision")
	if v := n.mustApply(1, driftPolicy(fleet.DriftAdopt), site("web", port, "hello")); v.Changed || !hasText(file, "by hand") {
		t.Errorf("the same revision undid it: %+v", v)
	}
	if d := n.status().Drift; d == nil || d.State != nginx.DriftAdopted {
		t.Errorf("drift %+v", d)
	}
	n.mustApply(2, driftPolicy(fleet.DriftAdopt), site("web", port, "hello"))
	if hasText(n.hostFile("web"), "by hand") {
		t.Error("the next revision did not replace it")
	}
	eventually(t, "nothing differs", func() bool { return !n.status().Drift.Now() })
}

func TestAPolicyThatIsEditedByHandIsNotHeeded(t *testing.T) {
	n := newNode(t)
	n.mustApply(1, driftPolicy(fleet.DriftEnforce), site("web", n.freePort(), "hello"))
	n.looked()
	editFile(t, n.version()+"/policy.json", fleet.DriftEnforce, fleet.DriftReport)
	n.wantEvent(nginx.EventHealed, "policy.json (edited)")
}

func TestHealingStopsWhenItIsUndoneAgainAndAgain(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "hello"))
	n.looked()
	file := n.hostFile("web")
	for i := range 3 {
		editFile(t, file, "hello", "by hand")
		eventually(t, "it is healed", func() bool { d := n.status().Drift; return d != nil && d.Healed == i+1 })
	}
	editFile(t, file, "hello", "by hand")
	n.wantEvent(nginx.EventDrifted, "virtualhost-web.conf (edited)", "healed too often")
	if d := n.status().Drift; d.State != nginx.DriftStopped || d.Healed != 3 || !hasText(file, "by hand") {
		t.Errorf("drift %+v", d)
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Error(got)
	}
	n.mustApply(2, site("web", port, "new"))
	eventually(t, "nothing differs", func() bool { return !n.status().Drift.Now() })
	if got := n.get(port, "web.example.org", "/"); got != "200 new" {
		t.Error(got)
	}
}

func TestEditsDuringAppliesAreHealedAndNoApplyIsUndone(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, site("web", port, "0"))
	n.looked()
	for i := range uint64(6) {
		if i%3 == 0 {
			must(t, os.WriteFile(n.version()+"/http.d/x.conf", []byte("x"), 0o600))
		}
		n.mustApply(i+2, site("web", port, strings.Repeat("x", int(i)+1)))
		if got := n.get(port, "web.example.org", "/"); got != "200 "+strings.Repeat("x", int(i)+1) {
			t.Error(got)
		}
	}
	eventually(t, "nothing differs", func() bool { return !n.status().Drift.Now() && n.FilesRight() })
	if s := n.status(); s.Revision != 7 || s.Running != s.Disk {
		t.Errorf("status %+v", s)
	}
}

func TestARollbackGoesBackToFilesThatAreRight(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, driftPolicy(fleet.DriftReport), site("web", port, "hello"))
	n.looked()
	editFile(t, n.hostFile("web"), "return", "retrun")
	n.wantEvent(nginx.EventDrifted, "virtualhost-web.conf (edited)")
	if _, err := n.apply(2, driftPolicy(fleet.DriftReport), site("web", port, "new"), raw("dead", "log_format x escape=none '';\nlimit_req_zone $binary_remote_addr zone=z:1;\n")); err == nil {
		t.Fatal("applied")
	}
	if got := n.get(port, "web.example.org", "/"); got != "200 hello" {
		t.Error(got)
	}
}

func TestNginxThatDiesWithEditedFilesComesBackWithTheRightOnes(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustApply(1, driftPolicy(fleet.DriftReport), site("web", port, "hello"))
	n.looked()
	file := n.hostFile("web")
	editFile(t, file, "return", "retrun")
	n.wantEvent(nginx.EventDrifted, "virtualhost-web.conf (edited)")
	dead := n.status().PID
	must(t, syscall.Kill(dead, syscall.SIGKILL))
	eventually(t, "it serves again", func() bool { return n.get(port, "web.example.org", "/") == "200 hello" })
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
}

func TestAKeyThatWasReplacedIsHealedAndNeverShown(t *testing.T) {
	n := newNode(t)
	p := certtest.New(t).Issue("a.example.org")
	other := certtest.New(t).Issue("a.example.org").Key
	b, err := nginx.RenderUnvalidated(n.address, []fleet.Resource{certificate("a", p), resource("u", &userOf{certificate: "a"}), driftPolicy(fleet.DriftReport)})
	must(t, err)
	if _, err = n.Apply(t.Context(), 1, b); err != nil {
		t.Fatal(err)
	}
	n.looked()
	key := filepath.Join(n.version(), "ssl", "a.key")
	must(t, os.WriteFile(key, other, 0o600))
	n.wantEvent(nginx.EventDrifted, "ssl/a.key (edited)")
	c, err := n.Changes(t.Context(), false)
	must(t, err)
	if !strings.Contains(c.Diff, "ssl/a.key (edited)\nits content is secret and is not shown\n") || strings.Contains(c.Diff, "PRIVATE") {
		t.Error(c.Diff)
	}
	if b, err = nginx.RenderUnvalidated(n.address, []fleet.Resource{certificate("a", p), resource("u", &userOf{certificate: "a"}), driftPolicy(fleet.DriftEnforce)}); err != nil {
		t.Fatal(err)
	}
	if _, err = n.Apply(t.Context(), 2, b); err != nil {
		t.Fatal(err)
	}
	n.looked()
	key = filepath.Join(n.version(), "ssl", "a.key")
	must(t, os.Remove(key))
	n.wantEvent(nginx.EventHealed, "ssl/a.key (missing)")
	if data, err := os.ReadFile(key); err != nil || string(data) != string(p.Key) {
		t.Error("the key is not back", err)
	}
	leaksNowhere(t, filepath.Dir(n.cfg.State), p.Key)
	leaksNowhere(t, filepath.Dir(n.cfg.State), other)
}

func TestTheDifferenceIsShownFileByFile(t *testing.T) {
	n := newNode(t)
	n.mustApply(1, driftPolicy(fleet.DriftReport), site("web", n.freePort(), "hello"))
	n.looked()
	if c, err := n.Changes(t.Context(), false); err != nil || len(c.Files) > 0 || c.Diff != "" || !c.Healed.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := n.Changes(t.Context(), true); fleet.KindOf(err) != fleet.Unknown {
		t.Error(err)
	}
	editFile(t, n.hostFile("web"), "hello", "by hand")
	must(t, os.Remove(n.version()+"/mime.types"))
	must(t, os.WriteFile(n.version()+"/http.d/extra.conf", []byte("# mine\n"), 0o600))
	must(t, os.WriteFile(n.version()+"/http.d/long.conf", []byte(strings.Repeat("a line\n", 100_000)), 0o600))
	must(t, os.WriteFile(n.version()+"/http.d/binary", []byte{0, 1, 2}, 0o600))
	must(t, os.WriteFile(n.version()+"/.htpasswd", []byte("alice:$apr1$secret"), 0o600))
	must(t, os.Chmod(n.version()+"/http.d/default.conf", 0o644))
	replaceByFile(t, n.link(), "events {}\n")
	n.wantEvent(nginx.EventDrifted, "and ", "more")
	c, err := n.Changes(t.Context(), false)
	must(t, err)
	for _, part := range []string{
		"nginx.conf (link: it is no link any more)\n--- fairlead/", "\n+events {}\n",
		"http.d/virtualhost-web.conf (edited)\n--- fairlead/http.d/virtualhost-web.conf\n+++ node/http.d/virtualhost-web.conf\n@@", "+        return 200 \"by hand\";",
		"mime.types (missing)\n--- fairlead/mime.types", "http.d/extra.conf (extra)\n", "+# mine\n", "http.d/default.conf (mode: 0644, not 0600)\n",
		"http.d/binary (extra)\nits content is not text\n", "… the rest of this file is left out", ".htpasswd (extra)\nits content is secret",
	} {
		if !strings.Contains(c.Diff, part) {
			t.Errorf("it does not say %q", part)
		}
	}
	if strings.Contains(c.Diff, "apr1") || len(c.Diff) > 256<<10 || len(c.Files) != 8 || c.Revision != 1 {
		t.Errorf("%d bytes, %+v", len(c.Diff), c.Files)
	}
	n.mustApply(2, site("web", n.freePort(), "hello"))
	n.looked()
	editFile(t, n.hostFile("web"), "hello", "once more")
	n.wantEvent(nginx.EventHealed, "virtualhost-web.conf (edited)")
	if c, err = n.Changes(t.Context(), false); err != nil || c.Diff != "" || c.Healed.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = n.Changes(t.Context(), true); err != nil || !strings.Contains(c.Diff, "once more") || c.At.IsZero() || c.Revision != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestForensicCopiesAreBounded(t *testing.T) {
	n := newNode(t)
	n.mustApply(1, site("web", n.freePort(), "hello"))
	n.pause(time.Hour)
	must(t, os.Mkdir(n.version()+"/pile", 0o755))
	for i := range 30 {
		must(t, os.WriteFile(filepath.Join(n.version(), "pile", strconv.Itoa(i)), make([]byte, 2<<20), 0o600))
	}
	if _, err := n.Resume(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	n.wantEvent(nginx.EventHealed, "pile (extra: it is a directory)")
	lists, _ := filepath.Glob(n.cfg.State + "/forensics/*/forensic.json")
	if len(lists) != 1 || !hasText(lists[0], "all but its beginning") {
		t.Error(lists)
	}
	var size int64
	must(t, filepath.WalkDir(n.cfg.State+"/forensics", func(_ string, d os.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			size += info.Size()
		}
		return err
	}))
	if size > 17<<20 {
		t.Errorf("%d bytes", size)
	}
}
