package station

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Station is one management station. Make it with New and give it to Run.
type Station struct {
	cfg      Config
	log      *slog.Logger
	conn     *bus.Conn
	clock    bus.Clock
	trust    *message.TrustKeeper
	register *register
	presence *presence
	crowd    *crowd
	ledger   *ledger
	compiler *compiler
	signs    *checkpoints
	barrier  *barrier
	tokens   *tokens
	rollouts *rollouts
	governor *governor
	shared   shared
	refusals refusals
	renewed  chan struct{} // there may be a renewed JWT for this station
	ready    chan struct{}
}

// New checks the configuration; it does no I/O.
func New(cfg Config) (*Station, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Station{cfg: cfg, log: cfg.Logger, renewed: make(chan struct{}, 1), ready: make(chan struct{})}
	var err error
	if s.trust, err = message.NewTrustKeeper(cfg.Trust, s.clock.Now); err != nil {
		return nil, err
	}
	s.trust.Keep = func(message.Message) error {
		s.cfg.TLS.FollowTrust(s.trust.Current(), s.log)
		return nil
	}
	for _, list := range cfg.Revoked {
		if err := s.trust.AddRevoked(list); err != nil && fleet.KindOf(err) != fleet.Refused { // of another set
			return nil, err
		}
	}
	s.register = newRegister(s)
	s.presence = newPresence(s)
	s.crowd = &crowd{most: cfg.SyncsAtOnce}
	s.ledger = newLedger(s)
	s.compiler = newCompiler(s)
	s.signs = &checkpoints{station: s}
	s.barrier = &barrier{station: s}
	s.tokens = newTokens(s)
	s.rollouts = newRollouts(s)
	s.governor = newGovernor(s)
	return s, nil
}

// Ready is closed when the station knows everything that is stored and serves.
func (s *Station) Ready() <-chan struct{} { return s.ready }

// connectPause is the time between attempts to reach the broker at the start.
const connectPause = time.Second

// Run runs the station until ctx ends.
func (s *Station) Run(ctx context.Context) error {
	s.cfg.TLS.FollowTrust(s.trust.Current(), s.log)
	var err error
	s.conn, err = bus.Connect(ctx, bus.Options{URL: s.cfg.URL, TLS: s.cfg.TLS, Server: s.cfg.Server,
		Credentials: s.cfg.Credentials, Persist: true, Eager: true, Logger: s.log,
		OnConnect: func() {
			s.log.Info("connected", "broker", s.cfg.URL)
			s.presence.restart()
			s.lookRenewed()
		},
		OnDisconnect: func(err error) {
			s.log.Warn("link lost", "error", err)
			s.presence.deaf()
		},
	})
	if err != nil {
		return err
	}
	defer s.conn.Close()
	if err := s.ensureStorage(ctx); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	failures := make(chan error, 1)
	fail := func(err error) {
		select {
		case failures <- err:
		default:
		}
	}
	// Each stage knows what the one before it read: the register says whose
	// signature proves an answer, the ledger who waits for which revision.
	for _, stage := range []stage{
		{name: "trust set", run: s.followTrust},
		{name: "register", run: s.register.follow, judges: true},
		{name: "resources", run: s.compiler.followResources, judges: true},
		{name: "rollouts", run: s.rollouts.follow, judges: true},
		{name: "parts of desired states", run: s.compiler.followParts},
		{name: "desired state", run: s.compiler.followDesired, judges: true},
		{name: "reported state", run: s.register.followReported},
		{name: "commands", run: s.ledger.followCommands},
		{name: "answers", run: s.ledger.followEvents},
		{name: "health", run: s.register.followHealth},
		{name: "queues of orders", run: s.governor.follow},
		{name: "tokens", run: s.tokens.follow},
	} {
		known := make(chan struct{})
		all.Go(func() {
			if err := s.persist(ctx, stage, sync.OnceFunc(func() { close(known) })); err != nil {
				fail(err)
			}
		})
		select {
		case <-known:
		case err := <-failures:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	beats, err := s.presence.listen()
	if err != nil {
		return err
	}
	all.Go(func() { beats(ctx) })
	stop, err := s.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	all.Go(func() { s.sweep(ctx) })
	all.Go(func() { s.signs.run(ctx) })
	all.Go(func() { s.compiler.run(ctx) })
	all.Go(func() { s.rollouts.run(ctx) })
	all.Go(func() { s.governor.run(ctx) })
	all.Go(func() { s.followRenewed(ctx) })
	// Questions that come once it is ready must find it.
	if err := s.conn.Flush(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("the broker has not heard of the services yet", "error", err)
	}
	close(s.ready)
	s.log.Info("station runs", "nodes", s.register.len(), "waiting", s.ledger.len())
	select {
	case <-ctx.Done():
		return nil
	case err := <-failures:
		return err
	}
}

// stage is one thing that a station reads and follows.
type stage struct {
	name string
	run  func(ctx context.Context, caughtUp func()) error
	// judges: what is read holds or not by the trust set, and is read anew with
	// each.
	judges bool
}

// persist runs a stage again when its stream cannot be read for a while; what
// it hands over twice is known and does nothing.
func (s *Station) persist(ctx context.Context, stage stage, caughtUp func()) error {
	for {
		sctx, end := ctx, func() {}
		if stage.judges {
			sctx, end = s.untilTrust(ctx)
		}
		err := stage.run(sctx, caughtUp)
		anew := sctx.Err() != nil
		end()
		if ctx.Err() != nil {
			return nil
		}
		if anew {
			continue
		}
		s.log.Warn("reading was interrupted, beginning again", "what", stage.name, "error", err)
		pause(ctx, connectPause)
	}
}

func (s *Station) ensureStorage(ctx context.Context) error {
	for {
		if s.conn.Connected() {
			ectx, cancel := context.WithTimeout(ctx, 30*time.Second)
			settings, err := s.storage(ectx)
			if err == nil {
				err = s.conn.EnsureStorage(ectx, settings)
			}
			var state bus.StreamState
			if err == nil {
				state, err = s.conn.State(ectx, subjects.Commands)
			}
			cancel()
			if err == nil {
				s.clock.Observe(state.Now)
				return nil
			}
			if ctx.Err() != nil {
				return nil
			}
			s.log.Warn("the streams cannot be made, trying again", "error", err)
		}
		pause(ctx, connectPause/4)
		if ctx.Err() != nil {
			return fmt.Errorf("ensure storage: %w", ctx.Err())
		}
	}
}

// Parts of a tenant's quota that forwarded logs and pushed files reserve, where
// nobody says how much they may take.
const (
	logsShare  = 4
	filesShare = 8
)

// storage are the settings of streams and buckets, which have to fit into the
// tenant's quota: forwarded logs and pushed files reserve what they may take.
func (s *Station) storage(ctx context.Context) (subjects.Settings, error) {
	settings := s.cfg.Storage
	if settings.LogsBytes != 0 && settings.BlobsBytes != 0 {
		return settings, nil
	}
	use, err := s.conn.Usage(ctx)
	if err != nil {
		return settings, err
	}
	said, settings := settings, settings.Or(subjects.DefaultSettings())
	if quota := use.MaxStorage / int64(settings.Replicas); quota > 0 {
		settings.LogsBytes = cmp.Or(said.LogsBytes, min(settings.LogsBytes, quota/logsShare))
		settings.BlobsBytes = cmp.Or(said.BlobsBytes, min(settings.BlobsBytes, quota/filesShare))
	}
	return settings, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// sign completes a message of the station's own.
func (s *Station) sign(m message.Message) (message.Message, error) {
	m.From = s.cfg.Credentials.UserName()
	err := m.Sign(s.cfg.Credentials)
	return m, err
}
