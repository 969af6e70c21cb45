package nginx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// resolveTime bounds how long all names in raw configuration may take: nginx
// itself would wait ten seconds for one, and refuse everything then.
const resolveTime = 2 * time.Second

// runTest runs nginx -t. It is not read-only by itself: it binds, makes files
// and directories, and gives some of them to the workers. Where the agent may,
// it runs in a world of its own, from which nothing of that gets out; where
// not, it runs as it is, and Status says why.
func (e *Engine) runTest(ctx context.Context, v version, args []string, s survey, hosts map[string][]netip.Addr) (host.Result, error) {
	c := host.Command{Path: e.binary, Args: args, Dir: "/"}
	in := e.confinement(s)
	in.Hosts = hosts
	why := e.revealed(in, v)
	if why == "" {
		r, err := host.RunConfined(ctx, c, in)
		if !errors.Is(err, host.ErrUnconfined) {
			e.confined("")
			return r, err
		}
		why = err.Error()
	}
	e.confined(why)
	return host.Run(ctx, c)
}

// confinement is what nginx -t may write to.
func (e *Engine) confinement(s survey) host.Confinement {
	in := host.Confinement{Scratch: []string{e.cfg.Run, e.cfg.Logs, e.cfg.tempDir()}}
	for _, dir := range append([]string{filepath.Dir(e.cfg.PidFile)}, s.writes...) {
		for {
			if _, err := os.Stat(dir); err == nil || dir == "/" {
				break
			}
			dir = filepath.Dir(dir) // nginx makes the last part alone, but what is overlaid must be there
		}
		covered := func(outer string) bool { return dir == outer || strings.HasPrefix(dir, outer+"/") }
		if !slices.ContainsFunc(in.Scratch, covered) {
			in.Overlaid = append(in.Overlaid, dir)
		}
	}
	return in
}

// revealed says why the confinement would hide what nginx has to read; "" when
// it does not.
func (e *Engine) revealed(in host.Confinement, v version) string {
	if e.cfg.including() {
		return "nginx.conf is the host's own and may write anywhere"
	}
	for _, dir := range in.Scratch {
		if strings.HasPrefix(v.Dir+"/", dir+"/") || strings.HasPrefix(e.binary, dir+"/") {
			return "the directories of the engine lie in each other"
		}
	}
	if slices.Contains(in.Overlaid, "/") {
		return "a directory that nginx writes to has no parent but the root"
	}
	return ""
}

// hermetic remembers how nginx -t ran last.
type hermetic struct {
	mu    sync.Mutex
	known bool
	why   string
}

// confined notes whether it was confined, and says so where that changes.
func (e *Engine) confined(why string) {
	h := &e.hermetic
	h.mu.Lock()
	defer h.mu.Unlock()
	if why != "" && (!h.known || h.why != why) {
		e.log.Warn("nginx -t runs with this agent's own rights on the real files and network", "reason", why)
	}
	h.known, h.why = true, why
}

func (h *hermetic) now() (is bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known && h.why == "", h.why
}

// resolve looks up the names that raw configuration passes to, in the agent,
// where a slow or dead DNS costs two seconds and one resource. The faults name
// the resources.
func resolve(ctx context.Context, names map[string]fleet.Fault) (map[string][]netip.Addr, fleet.Faults) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	var mu sync.Mutex
	found := map[string][]netip.Addr{}
	var faults fleet.Faults
	var tasks sync.WaitGroup
	for name, at := range names {
		tasks.Go(func() {
			all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				faults = append(faults, lineFault(at, "%s does not resolve here (%s): nginx would wait for it and then refuse everything; name an Upstream, whose servers the agent resolves", name, plainDNS(err)))
				return
			}
			found[name] = all
		})
	}
	tasks.Wait()
	slices.SortFunc(faults, func(a, b fleet.Fault) int { return strings.Compare(a.String(), b.String()) })
	return found, faults
}

func plainDNS(err error) string {
	var e *net.DNSError
	if errors.As(err, &e) {
		switch {
		case e.IsNotFound:
			return "no such host"
		case e.IsTimeout:
			return "no answer in time"
		}
	}
	return "no answer"
}
