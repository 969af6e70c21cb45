package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
)

// parts bring desired states that are stored in parts. What is there of one lies below
// the agent's state, each part under its digest, so that only what lacks is asked for,
// after a change as after a break. Until all of it is there the state before it counts.
type parts struct {
	agent *Agent
	dir   string
	ctx   context.Context // ended with the agent
	cut   context.CancelFunc
	all   sync.WaitGroup

	mu     sync.Mutex
	ended  bool
	coming map[string]arriving // by key of the desired state
}

// arriving is a desired state of which parts lack.
type arriving struct {
	method, domain string
	document       []byte // as it was proven
	revision       uint64
	list           message.PartList
	news           uint64 // what the node had been told of by then
}

// Pauses between attempts where the broker lacks a part, or has something else in its
// place: a station writes another document then.
const (
	partsPause     = time.Second
	partsMostPause = time.Minute
)

// errNewer ends a fetch that is of no use any more.
var errNewer = errors.New("there is a newer desired state")

func newParts(a *Agent) *parts {
	ctx, cut := context.WithCancel(context.Background())
	return &parts{agent: a, dir: filepath.Join(a.cfg.State, "desired"), ctx: ctx, cut: cut, coming: make(map[string]arriving)}
}

// stop ends what is fetched; its parts stay. It reports whether all ended in time.
func (p *parts) stop(within time.Duration) bool {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.cut()
	return endsWithin(within, p.all.Wait)
}

// of is what arrives for a key.
func (p *parts) of(key string) (arriving, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.coming[key]
	return a, ok
}

// any reports whether anything arrives.
func (p *parts) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.coming) > 0
}

// begin fetches what lacks, and goes on with this where another was under way.
func (p *parts) begin(key string, a arriving) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	_, runs := p.coming[key]
	if p.coming[key] = a; !runs {
		p.all.Go(func() { p.run(key) })
	}
}

// run fetches until the newest desired state of a key is there.
func (p *parts) run(key string) {
	for wait := partsPause; ; {
		a, _ := p.of(key)
		err := p.bring(key, a)
		switch {
		case p.ctx.Err() != nil:
			return
		case err == nil:
			if p.arrived(key, a) {
				return
			}
		case errors.Is(err, errNewer):
		default:
			p.agent.log.Warn("a desired state does not come whole, trying again", "key", key, "revision", a.revision, "error", err)
			p.pause(wait, a.news)
			wait = min(2*wait, partsMostPause)
		}
		// What was told of, or the same again.
		body, err := p.agent.state.read(p.ctx, key, a.method, a.domain)
		switch k := fleet.KindOf(err); {
		case p.ctx.Err() != nil:
			return
		case k == fleet.Unavailable || k == fleet.Timeout:
			p.agent.log.Info("the desired state cannot be read, trying again", "key", key, "error", err)
			p.pause(wait, a.news)
		case err != nil || body != nil: // whoever asks for it hears what is wrong, or all of it is there
			p.over(key)
			return
		}
	}
}

// over ends a fetch: what waits for it goes on.
func (p *parts) over(key string) {
	p.mu.Lock()
	delete(p.coming, key)
	p.mu.Unlock()
	p.agent.lanes.resume()
	p.agent.state.changed()
}

// pause waits, but not once there is news.
func (p *parts) pause(d time.Duration, news uint64) {
	for until := time.Now().Add(d); time.Now().Before(until) && p.ctx.Err() == nil && p.agent.state.newest(news); {
		pause(p.ctx, min(partsPause, d))
	}
}

// arrived takes a desired state of which everything is there. It is false where another took
// its place.
func (p *parts) arrived(key string, a arriving) bool {
	p.mu.Lock()
	now := p.coming[key]
	p.mu.Unlock()
	if now.revision != a.revision {
		return false
	}
	if err := p.agent.state.take(key, a.domain, a.revision, a.document, seen{news: a.news, at: host.BootClock(), fresh: true}); err != nil {
		p.agent.log.Error("a desired state that came in parts is not taken", "key", key, "error", err)
	} else {
		p.agent.log.Info("a desired state is here", "key", key, "revision", a.revision, "parts", a.list.Digests.Count())
	}
	p.over(key)
	return true
}

// bring fetches the parts that lack. The error is errNewer once the node was told of
// something since.
func (p *parts) bring(key string, a arriving) error {
	dir := p.dirOf(key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fleet.Errorf(fleet.Internal, "keep parts of a desired state: %w", err)
	}
	_, has, _ := p.agent.state.copy(key, a.domain)
	p.keep(key, a.document, has)
	lacking := p.lacking(key, a.list)
	p.agent.log.Info("fetching a desired state", "key", key, "revision", a.revision, "parts", a.list.Digests.Count(), "lack", len(lacking))
	return fetchEach(p.ctx, len(lacking), func(ctx context.Context, i int) ([]byte, error) { return p.get(ctx, key, lacking[i]) },
		func(i int, content []byte) error {
			if err := host.WriteFile(filepath.Join(dir, lacking[i]), content, 0o600); err != nil {
				return fleet.Errorf(fleet.Internal, "keep parts of a desired state: %w", err)
			}
			p.agent.cfg.Checkpoint(PointPart)
			if !p.agent.state.newest(a.news) {
				return errNewer
			}
			return nil
		})
}

// get reads one part, over again while there is no link.
func (p *parts) get(ctx context.Context, key, digest string) ([]byte, error) {
	for {
		select {
		case <-p.agent.link.connected():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pctx, cancel := context.WithTimeout(ctx, partTime)
		content, err := p.agent.conn.Part(pctx, key, digest)
		cancel()
		if k := fleet.KindOf(err); err == nil || k == fleet.Unknown || k == fleet.Failed || ctx.Err() != nil {
			return content, err
		}
		p.agent.log.Info("a part of a desired state did not come, asking again", "digest", digest, "error", err)
		pause(ctx, partPause)
	}
}

// dirOf is named without the node, which may be given another name.
func (p *parts) dirOf(key string) string {
	_, name, _ := strings.Cut(key, ".")
	return filepath.Join(p.dir, name)
}

// kept reads a part that is on disk, and proves it: a power cut may have left half of one.
func (p *parts) kept(key, digest string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(p.dirOf(key), digest))
	if err == nil && message.Digest(content) != digest {
		err = errors.New("it is something else")
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, "a part of the desired state is not on this node's disk: %w", err)
	}
	return content, nil
}

// lacking are the digests of the parts that are not there, each once.
func (p *parts) lacking(key string, list message.PartList) (lacking []string) {
	seen := make(map[string]bool)
	for i := range list.Digests.Count() {
		digest := list.Digests.At(i)
		if seen[digest] {
			continue
		}
		seen[digest] = true
		if _, err := p.kept(key, digest); err != nil {
			lacking = append(lacking, digest)
		}
	}
	return lacking
}

// whole is a document with its resources in it, from the node's own disk.
func (p *parts) whole(key string, document []byte) ([]byte, error) {
	return message.Whole(document, func(digest string) ([]byte, error) { return p.kept(key, digest) })
}

// keep removes all parts of a key but those that documents name.
func (p *parts) keep(key string, documents ...[]byte) {
	named := make(map[string]bool)
	for _, document := range documents {
		if list, err := message.PartsOf(document); err == nil && list != nil {
			for i := range list.Digests.Count() {
				named[list.Digests.At(i)] = true
			}
		}
	}
	entries, _ := os.ReadDir(p.dirOf(key))
	for _, e := range entries {
		if !named[e.Name()] {
			_ = os.Remove(filepath.Join(p.dirOf(key), e.Name()))
		}
	}
}
