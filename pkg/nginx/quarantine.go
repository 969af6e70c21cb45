package nginx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Quarantined is a bundle that this node tried and that did not serve.
type Quarantined struct {
	Digest string `json:"digest"`
	Local  string `json:"local"` // hash of what the node filled in
	// Host is the hash of the part of it that people and the host set: with another
	// nginx it is another matter, with other addresses of servers it is not.
	// An older agent wrote none; Local stands for it there.
	Host     string `json:"host,omitempty"`
	Revision uint64 `json:"revision"` // the newest that was tried with it
	// Reason is what nginx said, or what was counted.
	Reason string `json:"reason"`
	// Owners are the IDs of the resources that are to blame, where that is
	// known: without them the others serve.
	Owners []string `json:"owners,omitempty"`
	// Unsearched says that nginx -t refused it and named nobody, and that the
	// search for who is to blame has not ended: an agent may be killed over it.
	Unsearched bool      `json:"unsearched,omitempty"`
	At         time.Time `json:"at"`    // of the last try
	Count      int       `json:"count"` // of tries
	// Pardoned says that somebody asked for one more try.
	Pardoned bool `json:"pardoned,omitempty"`
}

const (
	mostQuarantined = 32      // the oldest go first
	mostReason      = 4 << 10 // bytes of a reason that are kept
)

// quarantine is quarantine.json: bundles that are not tried again until
// somebody asks for it, across restarts. Its methods may be called from any
// goroutine.
type quarantine struct {
	path string

	mu  sync.Mutex
	all []Quarantined // in the order of their last try
}

// load reads the file. One that cannot be read holds nothing: at worst a bad
// bundle is tried and rolled back once more.
func (q *quarantine) load() error {
	data, err := os.ReadFile(q.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		err = json.Unmarshal(data, &q.all)
	}
	return err
}

// save is called with the lock held.
func (q *quarantine) save() error {
	data, err := json.MarshalIndent(q.all, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(q.path, append(data, '\n'), 0o600)
}

// same says whether two tries were of one bundle on one host, whatever was seen
// of its servers at the time.
func (q Quarantined) same(o Quarantined) bool {
	if q.Host == "" || o.Host == "" {
		return q.Digest == o.Digest && q.Local == o.Local
	}
	return q.Digest == o.Digest && q.Host == o.Host
}

// holds finds a bundle that is not to be tried.
func (q *quarantine) holds(tried Quarantined) (Quarantined, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.all, func(o Quarantined) bool { return o.same(tried) && !o.Pardoned })
	if i < 0 {
		return Quarantined{}, false
	}
	return q.all[i], true
}

// put adds a bundle or counts another try of it.
func (q *quarantine) put(bad Quarantined) error {
	bad.Reason = bad.Reason[:min(len(bad.Reason), mostReason)]
	bad.Count = 1
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = slices.DeleteFunc(q.all, func(o Quarantined) bool {
		same := o.same(bad)
		if same {
			bad.Count += o.Count
		}
		return same
	})
	q.all = append(q.all, bad)
	q.all = q.all[max(0, len(q.all)-mostQuarantined):]
	return q.save()
}

// blame records whose fault it was, once that was found out.
func (q *quarantine) blame(tried Quarantined, owners []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.all {
		if o := &q.all[i]; o.same(tried) && len(o.Owners) == 0 {
			o.Owners, o.Unsearched = owners, false
			return q.save()
		}
	}
	return nil
}

// remove forgets a bundle that serves after all.
func (q *quarantine) remove(digest string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.all)
	q.all = slices.DeleteFunc(q.all, func(o Quarantined) bool { return o.Digest == digest })
	if len(q.all) == before {
		return nil
	}
	return q.save()
}

func (q *quarantine) list() []Quarantined {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.all)
}

// newest is what fits into a report that is sent all the time.
func (q *quarantine) newest() []Quarantined {
	const most, bytes = 5, 500
	all := q.list()
	all = all[max(0, len(all)-most):]
	for i := range all {
		all[i].Reason = all[i].Reason[:min(len(all[i].Reason), bytes)]
	}
	return all
}

// Pardon has the next Apply try a bundle although it failed before; "" is
// every bundle. A bundle that fails again is quarantined again.
func (e *Engine) Pardon(digest string) {
	q := &e.quarantine
	q.mu.Lock()
	defer q.mu.Unlock()
	changed := false
	for i := range q.all {
		if o := &q.all[i]; (digest == "" || o.Digest == digest) && !o.Pardoned {
			o.Pardoned, changed = true, true
		}
	}
	if !changed {
		return
	}
	if err := q.save(); err != nil {
		e.log.Warn("a pardon is not on disk", "error", err)
	}
}

// Quarantined finds out whether a bundle would be refused by Apply because it
// failed before.
func (e *Engine) Quarantined(digest string) (Quarantined, bool) {
	for _, q := range e.quarantine.list() {
		if q.Digest == digest && !q.Pardoned {
			return q, true
		}
	}
	return Quarantined{}, false
}

// refusal is the error of a bundle in quarantine.
func (q Quarantined) refusal() error {
	err := error(&quarantined{q.told(), q.Reason})
	if q.Unsearched {
		err = &refusal{err, q.Reason} // nginx -t alone harms nobody
	}
	return withOwners(err, q.Owners)
}

// quarantined is that error with the reason alone.
type quarantined struct {
	error
	reason string
}

func (q *quarantined) Unwrap() error { return q.error }

func (q Quarantined) told() error {
	return fleet.Errorf(fleet.Failed, "%s\nin quarantine since %s, tried %d times: not tried again until another revision comes, or somebody asks for it by `fairlead reload`",
		q.Reason, q.At.UTC().Format(time.RFC3339), q.Count)
}

// nodeFault is an error that another bundle would meet as well: a full disk, too
// little memory, a line that the host's own nginx.conf lacks. The same bundle
// serves once that is over.
type nodeFault struct{ error }

func (f *nodeFault) Unwrap() error { return f.error }

// condemn puts a bundle into quarantine when the error is its own fault, and
// gives the error back.
func (e *Engine) condemn(b Bundle, revision uint64, err error) error {
	var faults fleet.Faults
	var node *nodeFault
	if errors.As(err, &faults) || errors.As(err, &node) {
		return err // found again at no cost, each with its resource
	}
	switch fleet.KindOf(err) {
	case fleet.Failed, fleet.Timeout, fleet.Invalid:
	default:
		return err
	}
	var blame Blame
	var owners []string
	if errors.As(err, &blame) {
		owners = blame.Owners()
	}
	var refused *refusal
	search := errors.As(err, &refused) && len(owners) == 0
	bad := e.trying(b)
	bad.Revision, bad.Reason, bad.Owners, bad.Unsearched = revision, err.Error(), owners, search
	e.hold(bad)
	return err
}

// trying is how the quarantine knows a bundle on this host.
func (e *Engine) trying(b Bundle) Quarantined {
	l, err := e.localsOf(b)
	if err != nil {
		return Quarantined{Digest: b.Digest}
	}
	return Quarantined{Digest: b.Digest, Local: l.hash, Host: l.host}
}

// tried is how the quarantine knows a version that was staged.
func (v version) tried() Quarantined {
	return Quarantined{Digest: v.Manifest.Digest, Local: v.Manifest.Local, Host: v.Manifest.Host}
}

// condemnVersion is condemn for a version that was staged.
func (e *Engine) condemnVersion(v version, reason string) {
	bad := v.tried()
	bad.Revision, bad.Reason = v.Manifest.Revision, v.String()+": "+reason
	e.hold(bad)
}

func (e *Engine) hold(bad Quarantined) {
	bad.At = time.Now().UTC()
	if err := e.quarantine.put(bad); err != nil {
		e.log.Warn("the quarantine is not on disk", "error", err)
	}
	what := fmt.Sprintf("revision %d (%s): ", bad.Revision, Short(bad.Digest))
	e.tell(EventQuarantined, "%s", what+strings.TrimPrefix(bad.Reason, what))
}
