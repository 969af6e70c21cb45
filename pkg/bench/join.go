package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/join"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// JoinOptions say what to measure with; of Options, Nodes is how many hosts
// join.
type JoinOptions struct {
	Options
	Parallel int // hosts that join at once; 32
}

// Joined is the result of Join.
type Joined struct {
	Machine Machine   `json:"machine"`
	Nodes   int       `json:"nodes"`
	Sync    string    `json:"brokerSync"`
	Figures []Figures `json:"figures"`
	// Took is the time in which all joined.
	Took time.Duration `json:"tookNs"`
	// Revoked is the time from the decision to revoke a person until every node
	// that is connected believed it, the 99th of a hundred, and half of them.
	Revoked     time.Duration `json:"revokedNs"`
	RevokedP99  time.Duration `json:"revokedP99Ns"`
	RevokedP50  time.Duration `json:"revokedP50Ns"`
	CutOff      time.Duration `json:"cutOffNs"` // until the broker had cut the person's connection
	StationPeak uint64        `json:"stationPeakBytes"`
	BrokerPeak  uint64        `json:"brokerPeakBytes"`
}

// revokedName is who is revoked at the end.
const revokedName = "mallory"

// Join measures hosts that become nodes with a token, all of `fairlead join`:
// the broker's authority fetched and checked, two keys made, a connection with
// the token, the station's checks, two JWTs, the register, the audit, files.
// Then their agents run, and a person is revoked.
func Join(ctx context.Context, o JoinOptions) (Joined, error) {
	o.Options = o.complete()
	set(&o.Parallel, 32)
	debug.SetGCPercent(400)
	s := &system{options: o.Options, stop: func() {}}
	defer s.close()
	if err := s.prepareJoin(ctx); err != nil {
		return Joined{}, err
	}
	j := Joined{Machine: ThisMachine(), Nodes: o.Nodes, Sync: o.Sync}
	token, err := s.token(ctx)
	if err != nil {
		return j, err
	}
	bare, err := s.bareConnections(ctx, token, o.Parallel)
	if err != nil {
		return j, err
	}
	o.Progress("%d hosts join", o.Nodes)
	joins, took, err := s.joins(ctx, token, o.Parallel)
	if err != nil {
		return j, err
	}
	joins.against(bare)
	j.Figures, j.Took = []Figures{bare, joins}, took
	if err := s.revocation(ctx, &j); err != nil {
		return j, err
	}
	if j.StationPeak, err = memory(s.station.PID, "VmHWM"); err != nil {
		return j, err
	}
	j.BrokerPeak, err = memory(s.broker.PID, "VmHWM")
	return j, err
}

func (s *system) prepareJoin(ctx context.Context) error {
	if err := s.directories(); err != nil {
		return err
	}
	var err error
	s.authority, err = identity.Open(filepath.Join(s.options.Data, "identity"), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		return err
	}
	if _, err := s.authority.User(revokedName, subjects.Operator); err != nil {
		return err
	}
	return s.daemons(ctx)
}

// token is one for all hosts.
func (s *system) token(ctx context.Context) (t identity.Token, err error) {
	trust, err := s.authority.TrustSet()
	if err != nil {
		return t, err
	}
	set, err := message.OpenTrust(trust)
	if err != nil {
		return t, err
	}
	t = identity.Token{URL: s.url, Account: set.Account, Signers: set.Signers, Version: set.Version}
	if s.secure.CA != "" {
		text, err := os.ReadFile(s.secure.CA)
		if err != nil {
			return t, err
		}
		if t.CA, err = bus.Fingerprints(text); err != nil {
			return t, err
		}
	}
	key, seed, err := identity.NewUserKey()
	if err != nil {
		return t, err
	}
	_, jwt, err := s.client.MakeToken(ctx, station.TokenRecord{Key: key, Uses: s.options.Nodes}, time.Hour)
	t.JWT, t.Seed = jwt, string(seed)
	return t, err
}

// bareConnections are connections with the token that are closed at once: what
// a join costs of bare NATS.
func (s *system) bareConnections(ctx context.Context, token identity.Token, parallel int) (Figures, error) {
	count := min(s.options.Nodes, 10*parallel)
	s.options.Progress("%d bare connections", count)
	creds, err := token.Credentials()
	if err != nil {
		return Figures{}, err
	}
	f, _, err := s.atOnce("bare connection with TLS and JWT", count, parallel, func(int) error {
		c, err := bus.Connect(ctx, bus.Options{URL: s.url, TLS: s.secure, Credentials: creds})
		if err == nil {
			c.Close()
		}
		return err
	})
	return f, err
}

func (s *system) joins(ctx context.Context, token identity.Token, parallel int) (Figures, time.Duration, error) {
	return s.atOnce("join, from the token to the node's files", s.options.Nodes, parallel, func(i int) error {
		_, err := join.Join(ctx, join.Options{Token: token, Name: nodeName(i), Dir: s.identityOf(i), Logger: s.options.Logger})
		return err
	})
}

func (s *system) identityOf(i int) string {
	return filepath.Join(s.options.Journals, nodeName(i), "identity")
}

// atOnce does something so many times, several of them at once, and measures
// each and the whole.
func (s *system) atOnce(name string, count, parallel int, do func(i int) error) (Figures, time.Duration, error) {
	before, err := s.processors()
	if err != nil {
		return Figures{}, 0, err
	}
	all := series{name: name, took: make([]time.Duration, count)}
	next := make(chan int)
	failed := make(chan error, parallel)
	var workers sync.WaitGroup
	begun := time.Now()
	for range parallel {
		workers.Go(func() {
			for i := range next {
				at := time.Now()
				if err := do(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				all.took[i] = time.Since(at)
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	workers.Wait()
	all.whole = time.Since(begun)
	select {
	case err := <-failed:
		return Figures{}, 0, err
	default:
	}
	after, err := s.processors()
	if err != nil {
		return Figures{}, 0, err
	}
	f := all.figures()
	f.Took = all.whole
	for i, into := range []*time.Duration{&f.Agents, &f.Broker, &f.Station} {
		*into = (after[i] - before[i]) / time.Duration(count)
	}
	return f, all.whole, nil
}

// revocation runs the agents of all nodes, revokes a person who is connected,
// and waits until everybody believes it.
func (s *system) revocation(ctx context.Context, j *Joined) error {
	agents, err := s.joinedAgents()
	if err != nil {
		return err
	}
	if err := s.runHeard(ctx, agents); err != nil {
		return err
	}
	cut := make(chan time.Time, 1)
	mallory, err := s.authority.User(revokedName, subjects.Operator)
	if err != nil {
		return err
	}
	creds, err := identity.LoadCreds(mallory.CredsFile)
	if err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: s.url, TLS: s.secure, Credentials: creds, OnDisconnect: func(error) {
		select {
		case cut <- time.Now():
		default:
		}
	}})
	if err != nil {
		return err
	}
	defer conn.Close()

	s.options.Progress("revoking one person")
	before := agents[0].Trust().Current().Version
	heard := make(chan time.Time, len(agents))
	for _, a := range agents {
		changed := a.Trust().Changed()
		go func() {
			select {
			case <-changed:
				heard <- time.Now()
			case <-ctx.Done():
			}
		}()
	}
	begun := time.Now()
	if err := s.revoke(ctx); err != nil {
		return err
	}
	times := series{name: "revocation"}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for range agents {
		select {
		case at := <-heard:
			times.took = append(times.took, at.Sub(begun))
		case <-limit.C:
			return fleet.Errorf(fleet.Timeout, "%d of %d nodes have heard of the revocation", len(times.took), len(agents))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case at := <-cut:
		j.CutOff = at.Sub(begun)
	case <-limit.C:
		return fleet.Errorf(fleet.Timeout, "the broker does not cut off who was revoked")
	}
	f := times.figures()
	j.RevokedP50, j.RevokedP99, j.Revoked = f.P50, f.P99, times.took[len(times.took)-1]
	for _, a := range agents {
		if owner, known := a.Trust().Find(mallory.Key); known || owner.Name == "" || a.Trust().Current().Version <= before {
			return fleet.Errorf(fleet.Internal, "a node still believes %s", revokedName)
		}
	}
	return nil
}

// revoke does what `fairlead user revoke` does.
func (s *system) revoke(ctx context.Context) error {
	if _, err := s.authority.Revoke(revokedName, "for the measurement"); err != nil {
		return err
	}
	account, err := s.authority.Account()
	if err != nil {
		return err
	}
	system, err := s.authority.SystemUser()
	if err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: s.url, TLS: s.secure, Credentials: system})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.PushAccount(ctx, account); err != nil {
		return err
	}
	trust, err := s.authority.TrustSet()
	if err != nil {
		return err
	}
	return s.client.Conn().PutTrust(ctx, trust)
}

// joinedAgents are the agents of the hosts that joined.
func (s *system) joinedAgents() ([]*agent.Agent, error) {
	var all []*agent.Agent
	for i := range s.options.Nodes {
		dir := s.identityOf(i)
		node, err := identity.OpenNode(dir)
		if err != nil {
			return nil, err
		}
		trust, err := identity.LoadTrust(filepath.Join(dir, identity.NodeTrust))
		if err != nil {
			return nil, err
		}
		a, err := agent.New(agent.Config{Name: nodeName(i), URL: s.url, TLS: s.secure, Credentials: node, Renewal: node, Trust: trust,
			State: filepath.Join(filepath.Dir(dir), "journal"), Registry: registry(), HealthEvery: time.Minute, Logger: s.options.Logger})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", nodeName(i), err)
		}
		all = append(all, a)
	}
	return all, nil
}
