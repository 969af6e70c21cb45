package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// Credentials are a user's: the name, the user JWT and the signing half of
// the user's key. Package identity reads them from a creds file.
type Credentials interface {
	message.Signer
	UserName() string
	UserJWT() string
	Inbox() string // prefix of the subjects on which the user may hear replies
}

// InProcess is a server in the same process.
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// Options say where to connect, as whom, and who hears of the connection's fate.
type Options struct {
	URL         string // tls://host:port or nats://host:port, several separated by commas
	TLS         TLS
	Credentials Credentials
	Server      InProcess // instead of URL
	// Ping is how often the broker is asked whether it is there; 20 s when 0.
	Ping time.Duration
	// Dial opens connections to URL; the system's when nil. Measurements cut
	// links by it.
	Dial func(network, address string) (net.Conn, error)
	// Wrap stands between the program and every connection that was opened to
	// URL, below TLS: what it sees is what the link carries. Nil for nothing.
	Wrap func(net.Conn) net.Conn
	// Instance is told to the broker with the user's name, so that who hears of
	// connections knows whose start this one is; "" tells nothing.
	Instance string
	// Eager never waits for more than a second to connect anew: for stations, of which there
	// are few, and whom all nodes ask that return with them.
	Eager bool
	// Spread is over how long those like this one are to spread their return, where
	// the broker ended the connection or cannot be reached: it did so, or cannot be, for all of
	// them. Nil for not at all.
	Spread func() time.Duration
	// Persist keeps trying when the first attempt fails, as an agent must; a
	// command line wants the error.
	Persist bool
	Logger  *slog.Logger

	OnConnect    func()          // first connection and every reconnection
	OnDisconnect func(err error) // err may be nil
	OnLost       func()          // messages of a subscription were dropped here: catch up
}

// Conn is one connection. Its methods may be called from any goroutine.
type Conn struct {
	closing atomic.Bool // Close was called: the end of the link is no news
	nc      *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	name    string
	explain func(error) error // of Options
	time    atomic.Pointer[period]
	trying  atomic.Pointer[nats.Conn] // nc, for what nats.go calls while Connect runs still
	refused atomic.Pointer[refusal]   // the next one
	alone   atomic.Bool               // the last link broke on this side
	last    atomic.Pointer[watchedConn]
	told    atomic.Value // why it cannot connect, as it was last logged

	trustMu sync.Mutex // held while trust sets are read
	trust   trustRead
}

// dialer is a function as nats.go wants it.
type dialer func(network, address string) (net.Conn, error)

func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

// dialer opens the connections to URL.
func (o Options) dialer() dialer {
	dial := dialer(o.Dial)
	switch {
	case dial != nil:
	case o.TLS.wanted(o.URL):
		dial = system.Dial
	default:
		dial = plainDialer{}.Dial
	}
	if o.Wrap == nil {
		return dial
	}
	return func(network, address string) (net.Conn, error) {
		conn, err := dial(network, address)
		if err != nil {
			return nil, err
		}
		return o.Wrap(conn), nil
	}
}

// period is the time from one connection to the next.
type period struct {
	ctx context.Context
	end context.CancelFunc
}

// renew ends a period: what was asked of the broker in it is not answered any more.
func (c *Conn) renew() {
	ctx, end := context.WithCancel(context.Background())
	if old := c.time.Swap(&period{ctx, end}); old != nil {
		old.end()
	}
}

// untilReconnect is a context that ends at the next reconnection.
func (c *Conn) untilReconnect(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.time.Load().ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// What bounds one attempt: of who waits for it, and of who tries until it works. A
// broker to which thousands come back at once lets them in one after the other, and
// who gives up before its turn has it work for nothing.
const (
	connectTime = 5 * time.Second
	persistTime = 30 * time.Second
)

// pingEvery is how often a broker is asked that nothing is heard of: twice in
// vain, and the connection is given up.
const pingEvery = 20 * time.Second

// system opens connections. Its kernel finds within a minute that the other host,
// or the way to it, is gone, and wakes no program for that.
var system = net.Dialer{Timeout: connectTime,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 3}}

// Connect connects. The error is Unavailable where nobody listens and Refused
// where the broker does not take the credentials.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Conn{log: o.Logger, name: o.Credentials.UserName(), explain: o.explain}
	c.refused.Store(newRefusal())
	c.renew()
	opts := []nats.Option{
		nats.Name(ClientName(c.name, o.Instance)),
		nats.UserJWT(
			func() (string, error) { return o.Credentials.UserJWT(), nil },
			func(asked []byte) ([]byte, error) { return prove(o.Credentials, asked) }),
		nats.CustomInboxPrefix(o.Credentials.Inbox()),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			if nc := c.trying.Load(); nc != nil {
				c.failed(o, nc.LastError())
			}
			return o.delay(attempts, c.alone.Load())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.failed(o, err) }),
		nats.ReconnectBufSize(-1), // fail at once while disconnected: the journal keeps what must not be lost
		nats.PingInterval(cmp.Or(o.Ping, pingEvery)),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(connectTime),
		nats.DrainTimeout(2 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) && o.OnLost != nil {
				o.OnLost()
			}
			c.refuse(err)
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			o.Logger.Warn("bus error", "error", err, "subject", subject)
		}),
		nats.ConnectHandler(func(*nats.Conn) {
			c.told.Store("")
			c.alone.Store(false)
			o.call(o.OnConnect)
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			c.told.Store("")
			c.alone.Store(false)
			c.renew()
			o.call(o.OnConnect)
		}),
		nats.ClosedHandler(func(*nats.Conn) { c.renew() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if o.OnDisconnect != nil && !c.closing.Load() {
				o.OnDisconnect(err)
			}
		}),
	}
	if o.Server != nil {
		opts = append(opts, nats.InProcessServer(o.Server))
	} else {
		if !o.TLS.wanted(o.URL) && leavesHost(o.URL) {
			o.Logger.Warn("this connection is not encrypted: whoever is on the way reads along and can take it over", "url", o.URL)
		}
		secure, err := o.TLS.options(o.URL)
		if err != nil {
			return nil, kinded(err, "connect to "+o.URL)
		}
		opts = append(opts, secure...)
		opts = append(opts, nats.SetCustomDialer(c.watched(o.dialer())))
	}
	if o.Persist {
		opts = append(opts, nats.Timeout(persistTime))
		// By itself the client gives up for good when a server refuses it twice,
		// as one does that has not loaded the account yet.
		opts = append(opts, nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort())
	}
	nc, err := nats.Connect(o.URL, opts...)
	if err != nil {
		return nil, kinded(o.explain(err), "connect to "+o.URL)
	}
	c.trying.Store(nc)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(16*underWay))
	if err != nil {
		nc.Close()
		return nil, kinded(err, "connect to "+o.URL)
	}
	c.nc, c.js = nc, js
	return c, nil
}

// closed says why a connection was given up for good that this program did not
// close: the broker took it away, as from a user who was revoked.
func (c *Conn) closed(err error) error {
	last := c.nc.LastError()
	if !errors.Is(err, nats.ErrConnectionClosed) || c.closing.Load() || last == nil {
		return err
	}
	return kinded(c.explain(last), "the connection was ended")
}

// failed tells once, until it changes, why there is no connection.
func (c *Conn) failed(o Options, err error) {
	if err == nil || c.closing.Load() {
		return
	}
	err = o.explain(err)
	if c.told.Swap(err.Error()) != err.Error() {
		o.Logger.Warn("cannot connect, trying again", "url", o.URL, "error", err)
	}
}

func (o Options) call(f func()) {
	if f != nil {
		f()
	}
}

// Connected reports whether the connection stands at this moment.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// Refused reports whether there is no connection because the broker did not
// take the credentials at the last attempt.
func (c *Conn) Refused() bool {
	err := c.nc.LastError()
	return !c.nc.IsConnected() && (errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired))
}

// Reconnect connects anew at once, with the credentials as they are now.
func (c *Conn) Reconnect() {
	if err := c.nc.ForceReconnect(); err != nil {
		c.log.Debug("the connection is closed already", "error", err)
	}
}

// URL is the server's address that the connection uses or tries.
func (c *Conn) URL() string { return c.nc.ConnectedUrl() }

// Close lets what was published leave, then closes.
func (c *Conn) Close() {
	c.closing.Store(true)
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(time.Second)
	}
	c.nc.Close()
}

const flushTime = 10 * time.Second

// Flush waits until the server has seen everything sent so far.
func (c *Conn) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime) // the client insists on a limit
	defer cancel()
	return kinded(c.nc.FlushWithContext(ctx), "flush")
}

// kinded gives a client error its kind; doing says what was tried.
func kinded(err error, doing string) error {
	var kind fleet.Kind
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case fleet.KindOf(err) == fleet.Refused, fleet.KindOf(err) == fleet.Invalid: // our own
		kind = fleet.KindOf(err)
	case overQuota(err) != nil:
		kind, err = fleet.Busy, overQuota(err)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		kind = fleet.Timeout
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrPermissionViolation):
		kind = fleet.Refused
	case errors.Is(err, nats.ErrMaxPayload):
		kind = fleet.Invalid
	case errors.As(err, &api) && wrongSequence(api):
		kind = fleet.Conflict
	case errors.Is(err, jetstream.ErrStreamNotFound):
		kind, err = fleet.Unknown, fmt.Errorf("no station of this tenant has made it yet, start one with `fairlead station`: %w", err)
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrMsgNotFound):
		kind = fleet.Unknown
	default:
		kind = fleet.Unavailable
	}
	return fleet.Errorf(kind, "%s: %w", doing, err)
}
