package nginx

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Engine owns one nginx. New makes one, Run works it; the other methods may be
// called from any goroutine and wait for each other where they touch nginx.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	store  store
	http   *http.Client // to the status socket
	herald *herald
	care   *care
	drift  *drifter

	lock       chan struct{}          // held by whoever changes nginx; a channel, so that waiting ends with a context
	begun      atomic.Bool            // Run was called
	memory     func() (uint64, error) // that is free; another one in tests
	hermetic   hermetic
	ready      chan struct{}
	looked     chan struct{} // Run knows what there is
	isReady    sync.Once
	control    control
	quarantine quarantine
	tally      tally
	baking     chan struct{} // a trial begins
	untidy     chan struct{} // there are versions to remove

	asked atomic.Pointer[Capabilities] // what it points to does not change; see can

	// Set by Run before open, then constant.
	binary  string // resolved, as /proc/PID/exe shows it
	workers account
	secret  string // by which nginx knows the engine's probes

	// Changed by the holder of lock.
	open    atomic.Bool                  // Run is at work
	master  atomic.Pointer[host.Process] // nil when nginx does not run
	good    version                      // last one proven to serve; the base before that
	trial   atomic.Pointer[trial]        // what serves instead while it bakes, else nil; see current
	exits   uint64                       // workers that had died of a signal when good was proven
	stopped bool                         // by Stop: not to be started again
	parse   time.Duration                // how long the last nginx -t took
	served  servedCertificates           // certificates of good
	birth   birth                        // of the last master
	ended   bool                         // nginx was ended by this engine, and not started since
	unknown bool                         // nginx serves what is not on disk any more
	wanted  want                         // good, and could not be started
	trouble trouble
	crashes crashes
}

// New makes an engine. It does no I/O; the error is that of Config.Validate.
func New(cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.complete()
	e := &Engine{
		cfg:        cfg,
		log:        cfg.Logger,
		store:      store{state: cfg.State, link: cfg.link(), entry: cfg.entry()},
		http:       statusClient(cfg.statusSocket()),
		herald:     newHerald(cfg.Event),
		care:       newCare(cfg),
		quarantine: quarantine{path: cfg.quarantine()},
		drift:      newDrifter(),
		lock:       make(chan struct{}, 1),
		memory:     host.MemoryAvailable,
		ready:      make(chan struct{}),
		baking:     make(chan struct{}, 1),
		untidy:     make(chan struct{}, 1),
		looked:     make(chan struct{}),
		parse:      time.Second,
	}
	e.control.heard = e.drift.heard
	return e, nil
}

// Ready is closed when nginx has answered with the digest of its version for
// the first time.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Looked is closed when the engine has found out how nginx is and done what it
// could at first, whether it serves or not. Apply, Reload and Status work from
// then on.
func (e *Engine) Looked() <-chan struct{} { return e.looked }

// Run prepares the directories, listens on the control log, adopts the nginx
// that it finds or starts one, and keeps it running until ctx ends. nginx goes
// on then; Stop ends it. Run is called once. Its error says what this host
// lacks; nothing that happens to nginx later ends it.
func (e *Engine) Run(ctx context.Context) error {
	if !e.begun.CompareAndSwap(false, true) {
		return fleet.Errorf(fleet.Internal, "an nginx engine runs once")
	}
	if err := e.prepare(ctx); err != nil {
		return err
	}
	e.control.crashed = e.workerCrashed
	listener, err := e.control.listen(e.cfg.controlSocket(), e.workers, e.log)
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, "control log of nginx: %w (agents on one host want --run, --logs and --nginx-conf of their own)", err)
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	listening, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	tasks.Go(func() { e.control.hear(listening, listener) })
	tasks.Go(func() { e.herald.run(listening) })
	counting, err := e.tally.listen(e.cfg.answersSocket(), e.workers)
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, "answers of nginx: %w", err)
	}
	tasks.Go(func() { e.tally.run(listening, counting) })
	tasks.Go(func() { e.bake(ctx) })
	tasks.Go(func() { e.collects(ctx) })

	e.care.names.restore()
	e.care.monitor.Restore()
	unlock, err := e.acquire(ctx)
	if err != nil {
		return nil
	}
	if err := e.readPause(); err != nil {
		e.log.Error("a pause is forgotten", "error", err)
	}
	e.drift.loaded = e.recorded()
	e.open.Store(true) // before Ready; Apply waits for the lock
	e.readRecovery()
	err = e.recover(ctx)
	if err != nil && ctx.Err() == nil {
		e.log.Error("nginx does not serve", "error", err)
		e.stillDown(err)
	}
	unlock()
	close(e.looked)
	defer e.shut()
	tasks.Go(func() { e.attend(ctx) })
	tasks.Go(func() { e.guard(ctx) })
	e.supervise(ctx)
	return nil
}

// shut lets no other change begin and waits for the one under way, which is
// still listened to.
func (e *Engine) shut() {
	e.open.Store(false)
	e.lock <- struct{}{}
	<-e.lock
}

// prepare finds out what this host has.
func (e *Engine) prepare(ctx context.Context) (err error) {
	if e.binary, err = host.LookPath(e.cfg.Binary); err != nil {
		return fleet.Errorf(fleet.Unavailable, "nginx: %w", err)
	}
	can, err := ask(ctx, e.binary)
	if err != nil {
		return err
	}
	e.asked.Store(&can)
	e.drift.installed = e.fingerprint()
	if e.workers, err = workerAccount(e.cfg.User); err != nil {
		return err
	}
	e.store.group = e.workers.gid
	if err := e.makeDirs(); err != nil {
		return err
	}
	if err := e.quarantine.load(); err != nil {
		e.log.Warn("the quarantine is lost", "error", err)
	}
	if e.secret, err = secretOf(e.cfg.probeFile()); err != nil {
		return err
	}
	for _, dir := range []string{e.cfg.Run, e.cfg.tempDir()} {
		if at := e.workers.barrier(dir); at != "" {
			e.log.Warn("workers of nginx cannot reach a directory", "directory", dir, "user", e.workers.name, "barred_by", at)
		}
	}
	return nil
}

// can is what nginx can do, as it said last: it is asked when Run begins, and
// again, with lock held, when it was installed anew. The zero value before that.
func (e *Engine) can() Capabilities {
	if c := e.asked.Load(); c != nil {
		return *c
	}
	return Capabilities{}
}

// acquire waits for nginx to be free; the error is that of ctx.
func (e *Engine) acquire(ctx context.Context) (unlock func(), err error) {
	select {
	case e.lock <- struct{}{}:
		return func() { <-e.lock }, nil
	case <-ctx.Done():
		return nil, fleet.Errorf(fleet.Busy, "wait for nginx to be free: %w", context.Cause(ctx))
	}
}

// enter is acquire for what needs a running engine.
func (e *Engine) enter(ctx context.Context) (unlock func(), err error) {
	if unlock, err = e.acquire(ctx); err != nil {
		return nil, err
	}
	if !e.open.Load() || e.stopped {
		unlock()
		return nil, fleet.Errorf(fleet.Unavailable, "the engine of nginx in %s does not run", e.cfg.State)
	}
	return unlock, nil
}

func (e *Engine) proven(v version) {
	v.files = nil // private keys among them
	e.good, e.exits, e.unknown = v, e.control.exits.Load(), false
	e.watch(v)
	e.unseen()
	e.isReady.Do(func() { close(e.ready) })
}

// up says whether the master is known and alive.
func (e *Engine) up() bool {
	m := e.master.Load()
	return m != nil && m.Alive()
}

// setMaster makes p the master that is signalled, watched and listened to. The
// handle of another one is given up.
func (e *Engine) setMaster(p *host.Process) {
	old := e.master.Swap(p)
	if old != nil && old != p {
		old.Close()
	}
	if p != nil && p != old {
		e.drift.reading()
	}
	pid := 0
	if p != nil {
		pid = p.PID
		e.remember(p.Identity)
	}
	e.control.master.Store(int64(pid))
}

// base is the version that serves nothing but the status socket.
func (e *Engine) base() (version, error) {
	b, err := Render("", nil)
	if err != nil {
		return version{}, err
	}
	return e.stage(0, b)
}
