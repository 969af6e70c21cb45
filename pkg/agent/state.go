package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// state is the node's desired and reported state. It implements handlers.State.
type state struct {
	agent *Agent
	parts *parts
	wakes chan struct{}

	storing  sync.Mutex // held while a report is on its way
	mu       sync.Mutex
	reported map[string]report // by key
	news     uint64            // counts what may have brought another desired state
	seen     map[string]seen   // by key: the last read from the broker
}

// seen is when a desired state was read from the broker.
type seen struct {
	news  uint64 // what was told of by then
	at    time.Duration
	fresh bool // it has come in parts, and nobody has asked for it since
}

// seenFor is for how long a node believes that it has the newest desired state where
// nothing told it of another. A change is told of as it is stored and once more by
// a command that waits until it is answered, so this is for what nobody thought of.
const seenFor = time.Hour

type report struct {
	method, domain string
	body           []byte // without its time
	document       []byte
	stored         bool
}

// stateTime bounds one write of a bucket.
const stateTime = 5 * time.Second

// readTime bounds one read: a desired state that is long takes its time over a slow link.
const readTime = 2 * time.Minute

func newState(a *Agent) *state {
	return &state{agent: a, parts: newParts(a), wakes: make(chan struct{}, 1), reported: make(map[string]report), seen: make(map[string]seen)}
}

// told says that there is another desired state at the broker.
func (s *state) told() {
	s.mayDiffer()
	s.changed()
}

// mayDiffer says that the node may not have heard of one.
func (s *state) mayDiffer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news++
}

// newest reports whether nothing was told of since.
func (s *state) newest(news uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news == news
}

// Known is Desired without a question to the broker where the copy is the newest as
// far as the node was told: what looks every minute must not cost the link a
// document each time. Of what is kept in parts it has the document alone.
func (s *state) Known(ctx context.Context, method, domain string) ([]byte, error) {
	key := subjects.StateKey(s.agent.cfg.Name, method, domain)
	s.mu.Lock()
	last, ok := s.seen[key]
	newest := ok && last.news == s.news && host.BootClock()-last.at < seenFor
	s.mu.Unlock()
	if !newest {
		return s.Desired(ctx, method, domain)
	}
	_, copied, err := s.copy(key, domain)
	return copied, err
}

// changed says that the desired state may be another.
func (s *state) changed() {
	select {
	case s.wakes <- struct{}{}:
	default:
	}
}

// Desired reads the newest desired document from the broker and keeps a copy;
// without a link, or while parts of the newest lack, it returns the copy.
func (s *state) Desired(ctx context.Context, method, domain string) ([]byte, error) {
	key := subjects.StateKey(s.agent.cfg.Name, method, domain)
	link := s.agent.link.stands()
	if link && !s.comes(key) {
		body, err := s.read(ctx, key, method, domain)
		if k := fleet.KindOf(err); body != nil || err != nil && k != fleet.Unavailable && k != fleet.Timeout {
			return body, err
		}
		if err != nil {
			s.agent.log.Info("desired state is read from disk", "error", err)
		}
	}
	coming, comes := s.parts.of(key)
	_, document, err := s.copy(key, domain)
	if err == nil {
		document, err = s.parts.whole(key, document)
	}
	switch {
	case err == nil:
	case comes:
		return nil, handlers.Later{For: fmt.Sprintf("revision %d, which is on its way", coming.revision)}
	case link: // the disk lost a part, or all of it has just come
		if document, err = s.read(ctx, key, method, domain); err == nil && document == nil {
			return nil, handlers.Later{For: "parts that are on their way"}
		}
	}
	return document, err
}

// Coming is the revision of a newer desired state of which parts lack, 0 for none.
func (s *state) Coming(method, domain string) uint64 {
	a, _ := s.parts.of(subjects.StateKey(s.agent.cfg.Name, method, domain))
	return a.revision
}

// comes reports whether the broker need not be asked: parts of what was read last are on
// their way, or have come this moment, and nothing was told of since.
func (s *state) comes(key string) bool {
	a, coming := s.parts.of(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.seen[key]
	if coming {
		return a.news == s.news
	}
	fresh := last.fresh && last.news == s.news && host.BootClock()-last.at < freshFor
	last.fresh = false
	s.seen[key] = last
	return fresh
}

// freshFor is how long after it came a desired state need not be asked for once more.
const freshFor = 10 * time.Second

// copy is the copy on the node's own disk, as it was stored.
func (s *state) copy(key, domain string) (revision uint64, document []byte, err error) {
	revision, document, found, err := s.agent.journal.Desired(key)
	if err != nil {
		return 0, nil, fleet.Errorf(fleet.Internal, "read the journal: %w", err)
	}
	if !found {
		return 0, nil, fleet.Errorf(fleet.Unknown, "%s has no desired state for %s: apply a resource that selects it", s.agent.cfg.Name, domain)
	}
	return revision, document, nil
}

// read asks the broker. What it returns is nil where parts of the newest lack; they are
// fetched then.
func (s *state) read(ctx context.Context, key, method, domain string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	s.mu.Lock()
	now := seen{news: s.news, at: host.BootClock()} // before: what is told of meanwhile may be newer
	s.mu.Unlock()
	entry, err := s.agent.conn.GetSlowly(ctx, subjects.Desired, key)
	if fleet.KindOf(err) == fleet.Unknown {
		return nil, fleet.Errorf(fleet.Unknown, "%s has no desired state for %s: apply a resource that selects it", s.agent.cfg.Name, domain)
	}
	if err != nil {
		return nil, err
	}
	s.agent.clock.Observe(entry.At)
	document, err := entry.Message(message.DesiredSubject(s.agent.cfg.Name, method, domain))
	if err != nil {
		return nil, err
	}
	if err := message.VerifyDocument(&document, s.agent.trust.Find, subjects.Station); err != nil {
		return nil, fleet.Errorf(fleet.Refused, "desired state of %s: %w", domain, err)
	}
	var numbered struct {
		Revision uint64 `json:"revision"`
	}
	if err := json.Unmarshal(document.Body, &numbered); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "desired state of %s: %w", domain, err)
	}
	list, err := message.PartsOf(document.Body)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "desired state of %s: %w", domain, err)
	}
	if list != nil && len(s.parts.lacking(key, *list)) > 0 {
		if has, _, err := s.copy(key, domain); err == nil && has > numbered.Revision {
			return nil, older(domain, fleet.Errorf(fleet.Conflict, "revision %d is older than %d", numbered.Revision, has))
		}
		s.parts.begin(key, arriving{method, domain, document.Body, numbered.Revision, *list, now.news})
		return nil, nil
	}
	if err := s.take(key, domain, numbered.Revision, document.Body, now); err != nil {
		return nil, err
	}
	return s.parts.whole(key, document.Body)
}

func older(domain string, err error) error {
	return fleet.Errorf(fleet.Refused, "desired state of %s: the broker holds an older revision than this node has seen: %w", domain, err)
}

// take keeps a desired state all of which is there, and no parts of another.
func (s *state) take(key, domain string, revision uint64, document []byte, now seen) error {
	if err := s.agent.journal.PutDesired(key, revision, document); err != nil {
		return older(domain, err)
	}
	s.parts.keep(key, document)
	s.mu.Lock()
	s.seen[key] = now
	s.mu.Unlock()
	return nil
}

// Report stores what the node is; without a link it is stored at the next
// connection. A report that says nothing new is not sent again.
func (s *state) Report(ctx context.Context, method, domain string, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fleet.Errorf(fleet.Internal, "report %s: %w", method, err)
	}
	key := subjects.StateKey(s.agent.cfg.Name, method, domain)
	r := report{method: method, domain: domain, body: untimed(body), document: body}
	s.mu.Lock()
	known := s.reported[key]
	if known.stored && bytes.Equal(known.body, r.body) {
		s.mu.Unlock()
		return nil
	}
	s.reported[key] = r
	s.mu.Unlock()
	if !s.agent.link.stands() {
		return nil
	}
	err = s.store(ctx, key, r)
	if err != nil && s.agent.link.stands() {
		s.changed() // it is tried again soon, and then with every look at what nginx runs
	}
	return err
}

// untimed is a report without its time, to compare.
func untimed(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	delete(fields, "at")
	plain, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return plain
}

func (s *state) store(ctx context.Context, key string, r report) error {
	s.storing.Lock() // the older of two never comes last
	defer s.storing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, stateTime)
	defer cancel()
	s.mu.Lock()
	r = s.reported[key]
	s.mu.Unlock()
	if r.stored {
		return nil
	}
	m := message.Message{
		Subject: message.ReportedSubject(s.agent.cfg.Name, r.method, r.domain),
		ID:      message.NewID(), From: s.agent.cfg.Name, Body: r.document,
	}
	if err := m.Sign(s.agent.signer()); err != nil {
		return err
	}
	if _, err := s.agent.conn.Put(ctx, subjects.Reported, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.reported[key]; bytes.Equal(now.document, r.document) {
		now.stored = true
		s.reported[key] = now
	}
	return nil
}

// flush stores the reports that have not been, and reports whether all are stored now.
func (s *state) flush(ctx context.Context) (all bool) {
	s.mu.Lock()
	due := make(map[string]report)
	for key, r := range s.reported {
		if !r.stored {
			due[key] = r
		}
	}
	s.mu.Unlock()
	all = true
	for key, r := range due {
		if err := s.store(ctx, key, r); err != nil {
			s.agent.log.Info("a report waits", "error", err)
			all = false
		}
	}
	return all
}

// flushAgain is how long reports wait that could not be stored over a link that
// stands: that long, and up to as much again.
const flushAgain = 5 * time.Second

// settleTime is how long after a change of the desired state the agent waits
// for the command that goes with it before it converges by itself.
const settleTime = 2 * time.Second

// convergence brings nginx to the desired state when nothing else does: after
// a connection, after a change whose command did not come, and on a timer.
func (a *Agent) convergence(ctx context.Context) error {
	if a.cfg.ConvergeEvery < 0 {
		<-ctx.Done()
		return nil
	}
	handler, err := a.cfg.Registry.Find(handlers.MethodNginxConfig)
	brings := err == nil && a.engine != nil // else there are reports to store alone
	wait := settleTime
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.state.wakes:
			timer.Stop()
			wait = settleTime + a.link.ease()
			continue // the pause begins anew, and the work once it is over
		case <-timer.C:
			wait = a.cfg.ConvergeEvery
		}
		if a.link.stands() {
			if brings {
				_ = a.tellDrift(ctx) // what is not stored is flushed
			}
			if !a.state.flush(ctx) {
				wait = min(wait, flushAgain+rand.N(flushAgain))
			}
		}
		if !brings {
			continue
		}
		if a.lanes.busy(handler.Lane) {
			wait = settleTime // what runs may bring the newest revision
			continue
		}
		if !a.converged(ctx) {
			a.lanes.add([]*work{{
				command: message.Message{Subject: nginxSubject(a.cfg.Name)},
				handler: handler, received: host.BootClock(), own: true,
			}})
		}
	}
}

// converged reports whether nothing is to be done: nginx runs the newest
// desired revision and has said so, or that revision failed and it has said so.
func (a *Agent) converged(ctx context.Context) bool {
	body, err := a.state.Known(ctx, handlers.MethodNginxConfig, desiredDomain)
	if err != nil {
		var later handlers.Later
		if fleet.KindOf(err) != fleet.Unknown && !errors.As(err, &later) {
			a.log.Warn("desired state cannot be read", "error", err)
		}
		return true
	}
	var desired struct {
		Revision uint64 `json:"revision"`
		Digest   string `json:"digest"`
	}
	if json.Unmarshal(body, &desired) != nil {
		return true
	}
	status, err := a.engine.Status(ctx)
	if err != nil {
		return true
	}
	if status.Paused != nil && a.state.lastReport().Status != "" {
		return true // its end wakes this; until then the node has said so
	}
	last := a.state.lastReport()
	_, held := a.engine.Quarantined(desired.Digest)
	switch {
	case last.Status == "": // nothing was said since the agent began
		return false
	case last.Revision == desired.Revision && last.Status == handlers.StatusPartial:
		return status.Running == last.Digest // a command can ask for another try
	case held: // likewise
		return last.Revision == desired.Revision && last.Status == handlers.StatusFailed
	}
	said := (last.Bake == nil) == (status.Bake == nil) // a trial ends without a command
	// Nothing on disk: somebody deleted it under nginx, which serves from memory.
	return said && status.Running == desired.Digest && status.Disk != "" && last.ObservedRevision == desired.Revision
}

func (s *state) lastReport() (r handlers.Reported) {
	key := subjects.StateKey(s.agent.cfg.Name, handlers.MethodNginxConfig, desiredDomain)
	s.mu.Lock()
	defer s.mu.Unlock()
	if document := s.reported[key].document; document != nil {
		_ = json.Unmarshal(document, &r) // it was marshalled by Report
	}
	return r
}
