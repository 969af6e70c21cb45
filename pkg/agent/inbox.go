package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// inbox takes commands, from the live subject and from syncs, and hands them
// to the lanes in the order of the stream.
//
// While a sync is under way what comes live is held, since the sync may bring
// what was stored before it.
type inbox struct {
	agent *Agent
	wakes chan string
	// spread is over how long a station last said to spread what can wait.
	spread time.Duration
	// returns is over how long it last said to spread the return to a broker that
	// went away.
	returns atomic.Int64
	asked   bool // a station has answered since the agent began

	mu      sync.Mutex
	syncing bool // a sync is due or under way: hold what comes live
	missed  bool // something was missed since the sync under way began
	held    []message.Delivery
	stopped bool
	subs    []*bus.Subscription
}

// heldMost bounds what is held; past it the rest comes by the next sync.
const heldMost = 4096

func newInbox(a *Agent) *inbox {
	return &inbox{agent: a, wakes: make(chan string, 1), syncing: true}
}

func (i *inbox) subscribe() error {
	a := i.agent
	commands, err := a.conn.Subscribe(subjects.CommandsTo(a.cfg.Name), i.live, func(subject string) {
		a.log.Warn("ignored a command that no stream keeps: it was not sent through the broker's store", "subject", subject)
	})
	if err != nil {
		return err
	}
	desired, err := a.conn.Listen(subjects.DesiredShown(a.cfg.Name), func(string, []byte) { a.state.told() })
	if err != nil {
		return err
	}
	nudge, err := a.conn.Listen(subjects.Nudge(a.cfg.Name), func(string, []byte) { i.wake("nudged") })
	if err != nil {
		return err
	}
	trust, err := a.conn.FollowTrust(a.trust, a.state.told)
	if err != nil {
		return err
	}
	asked, err := a.conn.Listen(subjects.Ask, func(_ string, question []byte) { a.heart.answer(question) })
	if err != nil {
		return err
	}
	i.subs = []*bus.Subscription{commands, desired, nudge, trust, asked}
	return nil
}

// stop takes no more commands; they stay in the mailbox.
func (i *inbox) stop() {
	for _, s := range i.subs {
		s.Stop()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped, i.held = true, nil
}

// wake asks for a sync soon; why is for the log. But for the slow timer something
// says that the node may not have heard of everything.
func (i *inbox) wake(why string) {
	if why != slowTimer {
		i.agent.state.mayDiffer()
	}
	select {
	case i.wakes <- why:
	default:
	}
}

// hold says that live messages may be missed, as without a link: what follows
// them must not overtake them, so it waits for a sync that begins after this.
func (i *inbox) hold() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.syncing, i.missed = true, true
}

// lost says that live messages were dropped on the way: hold what follows and
// read the mailbox.
func (i *inbox) lost() {
	i.hold()
	i.wake("lost messages")
}

func (i *inbox) live(d message.Delivery) {
	i.agent.clock.Observe(d.StoredAt)
	i.mu.Lock()
	switch {
	case i.stopped:
	case i.syncing && len(i.held) < heldMost:
		i.held = append(i.held, d)
	case i.syncing: // the sync that follows brings it
		i.missed = true
		i.wake("held too many")
	default:
		// Under the lock, so that a sync cannot overtake.
		i.agent.take([]message.Delivery{d})
	}
	i.mu.Unlock()
}

// Pauses between syncs that failed.
const (
	leastRetry = 50 * time.Millisecond
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
)

// slowTimer is why a sync begins that nothing asked for.
const slowTimer = "timer"

// run syncs whenever it is woken and on a slow timer.
func (i *inbox) run(ctx context.Context) error {
	retry := firstRetry
	for {
		timer := time.NewTimer(i.agent.cfg.SyncEvery/2 + rand.N(i.agent.cfg.SyncEvery))
		var why string
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case why = <-i.wakes:
		case <-timer.C:
			why = slowTimer
		}
		timer.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-i.agent.link.connected():
		}
		err := i.sync(ctx)
		if err == nil {
			i.agent.log.Debug("synced", "why", why)
			retry = firstRetry
			i.agent.rejoin()
			i.agent.prune()
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		wait := retry
		if later := (*bus.Later)(nil); errors.As(err, &later) {
			wait = min(max(later.After, leastRetry), lastRetry) // the station knows how many there are
		} else {
			retry = min(2*retry, lastRetry)
		}
		i.agent.log.Info("sync did not work, trying again", "error", err, "in", wait)
		pause(ctx, wait/2+rand.N(wait))
		i.wake(why)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// sync reads the newest trust set and then the whole mailbox, and takes that
// together with what came meanwhile.
func (i *inbox) sync(ctx context.Context) error {
	i.mu.Lock()
	i.syncing, i.missed = true, false
	i.mu.Unlock()

	// Before any command: who sent it may not be trusted any more.
	tctx, cancel := context.WithTimeout(ctx, syncTime)
	err := i.agent.conn.NewestTrust(tctx, i.agent.trust)
	cancel()
	if err != nil {
		return fmt.Errorf("read whom to trust: %w", err)
	}
	found, err := i.fetch(ctx)
	i.agent.heart.timed()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.missed { // else what is held waits for the next sync, which was asked for
		found = append(found, i.held...)
		i.held, i.syncing = nil, false
	}
	if i.stopped {
		return nil
	}
	slices.SortFunc(found, func(x, y message.Delivery) int { return int(int64(x.Sequence) - int64(y.Sequence)) })
	found = slices.CompactFunc(found, func(x, y message.Delivery) bool { return x.Sequence == y.Sequence })
	i.agent.take(found)
	i.agent.outbox.wake()
	i.agent.link.calm(i.spread)
	i.agent.state.changed()
	return nil
}

const syncTime = 10 * time.Second

// stationReturns is how long after a connection a station that was there may be on
// its way back, as behind a broker that was started anew: a fleet that reads its
// mailboxes by itself costs the broker a consumer for each node.
const stationReturns = 5 * time.Second

// mostSpread bounds what a station may say: it is not signed.
const mostSpread = time.Minute

// fetch asks a station, or where none answers reads the mailbox itself.
func (i *inbox) fetch(ctx context.Context) ([]message.Delivery, error) {
	i.spread = 0
	var all []message.Delivery
	after := uint64(0)
	for {
		var page message.SyncReply
		pctx, cancel := context.WithTimeout(ctx, syncTime)
		err := i.agent.conn.Ask(pctx, subjects.Sync(i.agent.cfg.Name), message.SyncRequest{After: after}, &page)
		cancel()
		if fleet.KindOf(err) == fleet.Unavailable && i.agent.conn.Connected() {
			if i.asked && i.agent.link.age() < stationReturns {
				return nil, &bus.Later{After: stationReturns / 4, Err: err}
			}
			return i.fetchAlone(ctx)
		}
		if err != nil {
			return nil, err
		}
		i.asked = true
		i.agent.clock.Observe(page.Now)
		i.spread = min(time.Duration(page.SpreadMillis)*time.Millisecond, mostSpread)
		i.returns.Store(int64(min(time.Duration(page.ReturnMillis)*time.Millisecond, mostSpread)))
		for _, s := range page.Messages {
			all = append(all, message.Receive(s))
			after = max(after, s.Sequence)
		}
		if !page.More {
			return all, nil
		}
	}
}

const mailboxPage = 256

// fetchAlone reads the mailbox through a consumer of the node's own.
func (i *inbox) fetchAlone(ctx context.Context) ([]message.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*syncTime)
	defer cancel()
	node := i.agent.cfg.Name
	var all []message.Delivery
	after := uint64(0)
	for {
		page, now, err := i.agent.conn.Mailbox(ctx, node, subjects.MailboxOf(node), after, mailboxPage)
		if err != nil {
			return nil, errors.Join(errors.New("no station answers, and the mailbox cannot be read"), err)
		}
		i.agent.clock.Observe(now)
		for _, s := range page {
			all = append(all, message.Receive(s))
			after = max(after, s.Sequence)
		}
		if len(page) == 0 {
			return all, nil
		}
	}
}
