package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/nginx"
)

// web is a real nginx in a temporary directory, worked by an engine.
type web struct {
	*nginx.Engine
	cfg     nginx.Config
	dir     string
	address string // of its own, so that no two share a port
	port    int
	cancel  context.CancelFunc
	ended   chan struct{}
}

// startTime bounds the start of an nginx.
const startTime = 30 * time.Second

// startWeb starts an nginx that serves nothing yet. number tells those of one
// process apart.
func startWeb(ctx context.Context, number int, logger *slog.Logger) (_ *web, err error) {
	dir, err := os.MkdirTemp("", "flb")
	if err != nil {
		return nil, err
	}
	w := &web{dir: dir, address: fmt.Sprintf("127.88.%d.%d", os.Getpid()%250, number), ended: make(chan struct{}), cancel: func() {}}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil { // for the worker user
		close(w.ended)
		return nil, err
	}
	w.cfg = nginx.Config{State: filepath.Join(dir, "state"), Conf: filepath.Join(dir, "conf"), Run: filepath.Join(dir, "run"), Logs: filepath.Join(dir, "logs"),
		Workers: 2, Logger: logger}
	if w.Engine, err = nginx.New(w.cfg); err != nil {
		close(w.ended)
		return nil, err
	}
	l, err := net.Listen("tcp", w.address+":0")
	if err != nil {
		close(w.ended)
		return nil, err
	}
	w.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	failed := make(chan error, 1)
	go func() {
		defer close(w.ended)
		failed <- w.Run(running)
	}()
	timer := time.NewTimer(startTime)
	defer timer.Stop()
	select {
	case <-w.Ready():
		return w, nil
	case err = <-failed:
	case <-timer.C:
		err = fmt.Errorf("nginx is not ready after %v", startTime)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, fmt.Errorf("start nginx: %w", err)
}

// leave ends the engine; nginx goes on.
func (w *web) leave() {
	w.cancel()
	<-w.ended
}

// close ends both and removes what they left.
func (w *web) close() {
	w.leave()
	if w.Engine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = w.Stop(ctx)
	}
	os.RemoveAll(w.dir)
}

func (w *web) at() string { return fmt.Sprintf("%s:%d", w.address, w.port) }

// apply has the engine do what an agent does with a desired state: render it,
// check it, commit it, prove it and remember what serves. It returns how long
// that took.
func (w *web) apply(ctx context.Context, revision uint64, resources []fleet.Resource) (time.Duration, error) {
	b, err := nginx.Render(w.address, resources) // by the station
	if err != nil {
		return 0, err
	}
	began := time.Now()
	o, err := w.Converge(ctx, nginx.Desired{Revision: revision, Digest: b.Digest, Address: w.address, Resources: resources})
	took := time.Since(began)
	if err == nil && !o.Whole() {
		err = errors.New(o.Summary())
	}
	return took, err
}

// hosts are plain virtual hosts; those below changed tell the revision, the
// others do not.
func (w *web) hosts(count, changed int, revision uint64) []fleet.Resource {
	all := make([]fleet.Resource, count)
	for i := range all {
		text := "revision 0"
		if i < changed {
			text = mark(revision)
		}
		spec := &fleet.VirtualHost{Listen: []fleet.Listen{{Port: w.port}}, ServerNames: []string{hostName(i)},
			Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: text}}}}
		all[i] = fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: fmt.Sprintf("host%d", i)}, Spec: spec}
	}
	return all
}

func hostName(i int) string { return fmt.Sprintf("host%d.example.org", i) }

func mark(revision uint64) string { return fmt.Sprintf("revision %d", revision) }

// bare is the same nginx without an engine: files edited in place, nginx -t,
// and a signal to the pid in the pid file.
type bare struct {
	link, version string // nginx.conf, and the directory with what it includes
	pid           int
	at            string
}

func (w *web) bare() (bare, error) {
	b := bare{link: filepath.Join(w.cfg.Conf, "nginx.conf"), at: w.at()}
	conf, err := os.Readlink(b.link)
	if err != nil {
		return b, err
	}
	b.version = filepath.Dir(conf)
	data, err := os.ReadFile(filepath.Join(w.cfg.Run, "nginx.pid"))
	if err != nil {
		return b, err
	}
	b.pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
	return b, err
}

// turn makes the hosts that tell a revision tell another. It returns when nginx -t
// took plus the time from the signal to the last answer of an old worker; the
// edit itself is not counted.
func (b bare) turn(ctx context.Context, from, to uint64) (time.Duration, error) {
	files, err := filepath.Glob(filepath.Join(b.version, "http.d", "*.conf"))
	if err != nil {
		return 0, err
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		next := strings.ReplaceAll(string(data), mark(from), mark(to))
		if next == string(data) {
			continue
		}
		if err := os.WriteFile(path, []byte(next), 0o600); err != nil {
			return 0, err
		}
	}
	r, err := host.Run(ctx, host.Command{Path: "nginx", Args: []string{"-t", "-q", "-c", b.link, "-e", "stderr"}})
	if err == nil && r.ExitCode != 0 {
		err = fmt.Errorf("nginx -t: %s", r.Stderr)
	}
	if err != nil {
		return 0, err
	}
	signalled := time.Now()
	if err := syscall.Kill(b.pid, syscall.SIGHUP); err != nil {
		return 0, err
	}
	last, err := b.lastOld(ctx, signalled, to)
	return r.Duration + last.Sub(signalled), err
}

// quiet is how long only new answers must come until the old workers count as
// gone: they answer 45 to 100 ms longer than the first new one comes.
const quiet = 250 * time.Millisecond

// lastOld asks until only new answers come, and says when the last old one came.
func (b bare) lastOld(ctx context.Context, last time.Time, revision uint64) (time.Time, error) {
	limit := last.Add(startTime)
	for time.Since(last) < quiet {
		text, err := get(b.at, hostName(0))
		if err != nil {
			return last, err
		}
		if text != mark(revision) {
			last = time.Now()
		}
		if last.After(limit) || ctx.Err() != nil {
			return last, fmt.Errorf("nginx still answers %q", text)
		}
	}
	return last, nil
}
