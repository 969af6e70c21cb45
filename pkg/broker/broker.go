package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/fleet"
)

// Broker is one NATS server in this process.
type Broker struct {
	config Config
	ready  chan struct{}
	begun  atomic.Bool
	server atomic.Pointer[server.Server] // set before ready is closed
}

// New checks a Config; it does no I/O. The error holds all faults.
func New(c Config) (*Broker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Broker{config: c.withDefaults(), ready: make(chan struct{})}, nil
}

// Ready is closed when clients may connect.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Run serves until ctx ends, which is no error, or until the server cannot go
// on, which is one: restart it once the cause is gone. All that it started
// has ended when it returns. It runs once.
func (b *Broker) Run(ctx context.Context) error {
	if b.begun.Swap(true) {
		return fleet.Errorf(fleet.Internal, "broker %s: Run was called twice", b.config.Name)
	}
	lock, err := lockStore(b.config.StoreDir, b.config.Name)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := b.config.checkKind(); err != nil {
		return err
	}

	log := &logger{to: b.config.Logger}
	s, err := b.start(log)
	if err != nil {
		return err
	}
	defer b.stop(s)
	b.server.Store(s)
	close(b.ready)
	b.config.Logger.Info("broker is ready", "name", b.config.Name, "url", b.URL(), "store", b.config.StoreDir, "sync", b.config.Sync)
	return b.watch(ctx, s, log)
}

// start returns a server that takes connections.
func (b *Broker) start(log *logger) (*server.Server, error) {
	c := b.config
	if err := c.bound(); err != nil {
		return nil, err
	}
	options, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("configure broker: %w", err)
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("configure broker: %w", err)
	}
	s.SetLoggerV2(log, false, false, false)
	if err := c.unmap(s); err != nil {
		return nil, err
	}
	s.Start()
	if c.Cluster != nil {
		awaitRoutes(s, log)
	}
	if err := log.failure(); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, b.explain(err)
	}
	return s, nil
}

// explain adds what a person can do about a failed start.
func (b *Broker) explain(err error) error {
	var addrs []string
	if b.config.Port > 0 {
		addrs = append(addrs, net.JoinHostPort(b.config.Host, fmt.Sprint(b.config.Port)))
	}
	if b.config.Cluster != nil {
		addrs = append(addrs, b.config.Cluster.Listen)
	}
	if b.config.Leafnodes != "" {
		addrs = append(addrs, b.config.Leafnodes)
	}
	if b.config.Gateway != nil {
		addrs = append(addrs, b.config.Gateway.Listen)
	}
	for _, addr := range addrs {
		if owner := listener(addr); owner != "" {
			return fleet.Errorf(fleet.Conflict, "%s is in use by %s: stop it, or choose another port", addr, owner)
		}
	}
	return fmt.Errorf("start broker: %w", err)
}

// unhealthy is how many looks in a row must be bad: a stream that is being
// made or deleted looks bad once.
const unhealthy = 3

// watch returns when ctx ends or the server can no longer store. nats-server
// goes on without JetStream when the disk is full, and without a stream when
// a write to it failed: a broker that takes connections and keeps nothing.
//
// A broker of a cluster that has lost the others, or is catching up with
// them, is not well either, but that passes: it warns and goes on.
func (b *Broker) watch(ctx context.Context, s *server.Server, log *logger) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	fatal := &server.HealthzOptions{JSEnabledOnly: b.config.Cluster != nil}
	for bad, warned := 0, false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		if !s.Running() {
			return errors.Join(errors.New("the broker's server ended by itself"), log.failure())
		}
		health := s.Healthz(fatal)
		if health.Error == "" {
			bad = 0
		} else if bad++; bad == unhealthy {
			return fleet.Errorf(fleet.Unavailable, "the broker can no longer store: %s: free or mend the disk, then start it again", health.Error)
		}
		if b.config.Cluster != nil {
			warned = b.tellCluster(s, warned)
		}
	}
}

// tellCluster says once that something is wrong with this broker's part in
// its cluster, and once that it is well again.
func (b *Broker) tellCluster(s *server.Server, warned bool) bool {
	health := s.Healthz(nil)
	switch {
	case health.Error != "" && !warned:
		b.config.Logger.Warn("the broker is not level with its cluster", "name", b.config.Name, "says", health.Error)
	case health.Error == "" && warned:
		b.config.Logger.Info("the broker is level with its cluster", "name", b.config.Name)
	}
	return health.Error != ""
}

// stop tells clients to go, gives them Drain for it, and closes the store.
func (b *Broker) stop(s *server.Server) {
	if b.config.Drain > 0 && s.NumClients() > 0 {
		s.LameDuckShutdown()
	}
	s.Shutdown()
	s.WaitForShutdown()
}
