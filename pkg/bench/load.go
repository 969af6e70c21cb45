package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/pkg/fleet"
)

// Loaded is what one kind of client saw while revisions were applied.
type Loaded struct {
	Client   string `json:"client"`
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	Error    string `json:"error,omitempty"` // of the first that failed
	// Mixed is how many answers bore the marks of two revisions.
	Mixed uint64 `json:"mixed"`
	// Seen is how many revisions answered.
	Seen int `json:"seen"`
}

// askers is how many clients of a kind ask at the same time.
const askers = 2

// Load applies revisions one after the other while clients ask without a
// pause. Each answer bears the marks of two files of the configuration, so
// that one of two revisions is seen. The kinds of client:
//   - a connection for each request, which may never fail;
//   - keepalive GET with a client that tries again on another connection where
//     the old one ended, as browsers and libraries do, which may never fail;
//   - keepalive POST with a client that does not, which fails when nginx closes
//     a connection at the moment that the client uses it.
func Load(ctx context.Context, applies int, logger *slog.Logger) ([]Loaded, error) {
	w, err := startWeb(ctx, 9, logger)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if _, err := w.apply(ctx, 1, w.marked(1)); err != nil {
		return nil, err
	}
	clients := []*crowd{
		{name: "a connection for each request", ask: func() (asker, func()) {
			return func() (string, error) { return get(w.at(), markedName) }, func() {}
		}},
		{name: "keepalive GET, tried again", ask: w.keepalive},
		{name: "keepalive POST, not tried again", ask: w.posts},
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for _, c := range clients {
		for range askers {
			all.Go(func() { c.run(asking) })
		}
	}
	for revision := uint64(2); revision <= uint64(applies)+1 && err == nil; revision++ {
		_, err = w.apply(ctx, revision, w.marked(revision))
	}
	stop()
	all.Wait()
	var loaded []Loaded
	for _, c := range clients {
		loaded = append(loaded, c.loaded())
	}
	return loaded, err
}

const markedName = "marked.example.org"

// marked is one site whose answer is put together from two files.
func (w *web) marked(revision uint64) []fleet.Resource {
	file := func(name, content string) fleet.Resource {
		spec := &fleet.ConfigFile{Context: "http", Content: content}
		return fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: name}, Spec: spec}
	}
	return []fleet.Resource{
		file("a", fmt.Sprintf("server { listen %s; server_name %s; location / { return 200 \"%d $other\"; } }", w.at(), markedName, revision)),
		file("b", fmt.Sprintf("map $host $other { default %d; }", revision)),
	}
}

type asker func() (text string, err error)

// crowd is all clients of one kind.
type crowd struct {
	name                    string
	ask                     func() (asker, func())
	requests, failed, mixed atomic.Uint64

	mu    sync.Mutex
	first string
	seen  map[string]bool
}

func (c *crowd) run(ctx context.Context) {
	ask, end := c.ask()
	defer end()
	for ctx.Err() == nil {
		text, err := ask()
		c.requests.Add(1)
		one, other, _ := strings.Cut(text, " ")
		c.mu.Lock()
		switch {
		case err != nil:
			c.failed.Add(1)
			if c.first == "" {
				c.first = err.Error()
			}
		case one != other:
			c.mixed.Add(1)
		default:
			if c.seen == nil {
				c.seen = map[string]bool{}
			}
			c.seen[one] = true
		}
		c.mu.Unlock()
	}
}

func (c *crowd) loaded() Loaded {
	return Loaded{Client: c.name, Requests: c.requests.Load(), Failed: c.failed.Load(), Error: c.first, Mixed: c.mixed.Load(), Seen: len(c.seen)}
}

// keepalive asks by Go's own client, which tries a GET again.
func (w *web) keepalive() (asker, func()) {
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	client := &http.Client{Transport: transport, Timeout: askTime}
	return func() (string, error) {
		req, err := http.NewRequest(http.MethodGet, "http://"+w.at()+"/", nil)
		if err != nil {
			return "", err
		}
		req.Host = markedName
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %s", resp.Status)
		}
		return string(data), err
	}, transport.CloseIdleConnections
}

// posts asks over one connection for as long as the server keeps it. What was
// sent over one that the server had closed counts as failed.
func (w *web) posts() (asker, func()) {
	var l *line
	end := func() {
		if l != nil {
			l.Close()
			l = nil
		}
	}
	return func() (string, error) {
		var err error
		if l == nil {
			if l, err = dial(w.at()); err != nil {
				return "", err
			}
		}
		text, last, err := l.request(http.MethodPost, markedName, "")
		if last || err != nil {
			end()
		}
		time.Sleep(thinkTime)
		return text, err
	}, end
}

// thinkTime is between two posts of a client: a connection is closed under it
// only while it is idle.
const thinkTime = time.Millisecond
