package nginx_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/host"
)

// bare is nginx without Fairlead, as people run it: files in one tree that are
// changed in place, nginx -t, a SIGHUP to the master. Everything that it
// writes, chowns or leaves lies in its own directory, it listens on an address
// of its own, and what is left of its session ends with the test.
//
// It begins with the site web.example.org, which answers "old". In all texts
// DIR, ADDRESS, PORT and PORT0, a free one, stand for
// its own.
type bare struct {
	*node   // to ask it, by its address: no engine
	dir     string
	port    int
	free    int // another port
	master  *host.Process
	session int
}

// bareConf keeps to DIR what Debian's nginx has elsewhere.
const bareConf = `worker_processes 2;
pid DIR/nginx.pid;
error_log DIR/error.log notice;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path DIR/temp/body;
    proxy_temp_path DIR/temp/proxy;
    fastcgi_temp_path DIR/temp/fastcgi;
    uwsgi_temp_path DIR/temp/uwsgi;
    scgi_temp_path DIR/temp/scgi;
    include DIR/conf.d/*.conf;
}
`

// newBare starts one that has a file of other configuration already, "" for none.
func newBare(t *testing.T, other string) *bare {
	t.Helper()
	dir, err := os.MkdirTemp("", "flbare")
	must(t, err)
	must(t, os.Chmod(dir, 0o711))
	b := &bare{node: &node{t: t, address: ownAddress()}, dir: dir}
	b.port, b.free = b.freePort(), b.freePort()
	t.Cleanup(func() {
		b.kill()
		os.RemoveAll(dir)
	})
	for _, sub := range []string{"conf.d", "temp"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	b.write("nginx.conf", bareConf)
	b.write("conf.d/bad.conf", other)
	b.site("old")
	b.start()
	b.answers("200 old")
	return b
}

// write puts a text into a file, in place.
func (b *bare) write(name, text string) {
	b.t.Helper()
	must(b.t, os.WriteFile(filepath.Join(b.dir, name), []byte(b.filled(text)), 0o644))
}

func (b *bare) filled(text string) string {
	return strings.NewReplacer("DIR", b.dir, "ADDRESS", b.address, "PORT0", fmt.Sprint(b.free), "PORT", fmt.Sprint(b.port)).Replace(text)
}

// main changes what stands outside of http{}.
func (b *bare) main(old, new string) {
	b.t.Helper()
	editFile(b.t, filepath.Join(b.dir, "nginx.conf"), b.filled(old), b.filled(new))
}

func (b *bare) site(text string) {
	b.t.Helper()
	b.write("conf.d/web.conf", fmt.Sprintf("server { listen ADDRESS:PORT; server_name web.example.org; return 200 %s; }\n", text))
}

func (b *bare) arguments(more ...string) []string {
	return append([]string{"-p", b.dir, "-c", filepath.Join(b.dir, "nginx.conf"), "-e", "stderr"}, more...)
}

func (b *bare) start() {
	b.t.Helper()
	path, err := host.LookPath("nginx")
	must(b.t, err)
	b.master, err = host.Start(host.Daemon{Path: path, Args: b.arguments("-g", "daemon off;"), Stderr: filepath.Join(b.dir, "start.log")})
	must(b.t, err)
	b.session = b.master.Session
}

// kill ends whatever is left of the session: a wedged master, orphans.
func (b *bare) kill() {
	if b.master == nil {
		return
	}
	for again := true; again; {
		again = false
		pids, _ := host.Processes()
		for _, pid := range pids {
			p, err := host.OpenProcess(pid)
			if err != nil {
				continue
			}
			if p.Session == b.session && p.Started >= b.master.Started {
				again = true
				_ = p.Signal(syscall.SIGKILL)
				wait(p, 5*time.Second)
			}
			p.Close()
		}
	}
	b.master.Close()
	b.master = nil
}

// bareTime is longer than nginx -t takes on the slowest machine.
const bareTime = 30 * time.Second

// check is nginx -t.
func (b *bare) check() (host.Result, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), bareTime)
	defer cancel()
	return host.Run(ctx, host.Command{Path: "nginx", Args: b.arguments("-t", "-q")})
}

// restarts says whether nginx still starts from what lies on disk, as after a
// reboot of the host. The one that runs ends first.
func (b *bare) restarts() (bool, string) {
	b.t.Helper()
	b.kill()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	r, err := host.Run(ctx, host.Command{Path: "nginx", Args: b.arguments("-g", "daemon off;")})
	return err != nil || r.ExitCode == 0, string(r.Stderr)
}

func (b *bare) hup() {
	b.t.Helper()
	must(b.t, b.master.Signal(syscall.SIGHUP))
}

func (b *bare) workers() []int {
	b.t.Helper()
	pids, err := host.Children(b.master.PID)
	must(b.t, err)
	return pids
}

// reload is a SIGHUP that works: the workers are others then.
func (b *bare) reload() {
	b.t.Helper()
	old := b.workers()
	b.hup()
	eventually(b.t, "nginx has reloaded", func() bool {
		now := b.workers()
		return len(now) > 0 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(old, pid) })
	})
}

// wantLog waits for a text in the error log.
func (b *bare) wantLog(text string) {
	b.t.Helper()
	eventually(b.t, text+" is logged", func() bool { return hasText(filepath.Join(b.dir, "error.log"), b.filled(text)) })
}

// answers checks what the site says.
func (b *bare) answers(want string) {
	b.t.Helper()
	eventually(b.t, "the site answers "+want, func() bool { return b.get(b.port, "web.example.org", "/") == want })
}

// What nginx makes of an input by itself. Each is a way in which it is hurt, or
// in which it is silent.

// put is the naive way itself: the input and a good change of the site are
// written in place.
func (b *bare) put(text string) {
	b.t.Helper()
	b.write("conf.d/bad.conf", text)
	b.site("new")
}

// wantRefused is a no to the whole, good changes with it, in words that do not
// tell whose fault it is; and nginx does not start from those files any more.
func (b *bare) wantRefused(says string) {
	b.t.Helper()
	r, err := b.check()
	if err != nil || r.ExitCode == 0 || !strings.Contains(string(r.Stderr), b.filled(says)) {
		b.t.Errorf("nginx -t exits with %d and %.500q, %v; want %q", r.ExitCode, r.Stderr, err, says)
	}
	b.answers("200 old")
	if up, said := b.restarts(); up {
		b.t.Errorf("nginx starts from what it refuses: %s", said)
	}
}

// wantTaken is a yes without a word, and a reload that works.
func (b *bare) wantTaken() {
	b.t.Helper()
	b.wantSilent()
	b.reload()
}

func (b *bare) wantSilent() {
	b.t.Helper()
	if r, err := b.check(); err != nil || r.ExitCode != 0 || len(r.Stderr) > 0 {
		b.t.Errorf("nginx -t exits with %d and %.500q, %v", r.ExitCode, r.Stderr, err)
	}
}

// wantLost is a yes, and a reload that fails where only the log tells: whoever
// asked for it believes that the change serves.
func (b *bare) wantLost(logged string) {
	b.t.Helper()
	b.wantSilent()
	b.hup()
	b.wantLog(logged)
	b.answers("200 old")
}

// wantStuck is a test that waits, as is seen by what it waits for, and does not end.
func (b *bare) wantStuck(c host.Command, waits func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := host.Run(ctx, c)
		ended <- err
	}()
	eventually(b.t, "nginx -t waits", func() bool { return len(ended) > 0 || waits() })
	cancel()
	if err := <-ended; err == nil {
		b.t.Error("nginx -t ends")
	}
}

// wantStuckAt is a test that waits until somebody writes to a FIFO.
func (b *bare) wantStuckAt(fifo string) {
	b.t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := b.check()
		ended <- err
	}()
	eventually(b.t, "nginx -t opens the FIFO", func() bool {
		if len(ended) > 0 {
			b.t.Fatalf("nginx -t ends: %v", <-ended)
		}
		writer, err := os.OpenFile(filepath.Join(b.dir, fifo), os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails where nobody reads
		if err == nil {
			writer.Close()
		}
		return err == nil
	})
	must(b.t, <-ended)
}

func refused(text, says string) func(*bare) {
	return func(b *bare) {
		b.put(text)
		b.wantRefused(says)
	}
}

func taken(text string, then func(*bare)) func(*bare) {
	return func(b *bare) {
		b.put(text)
		b.wantTaken()
		then(b)
	}
}
