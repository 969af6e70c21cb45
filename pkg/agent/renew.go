package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Renewal keeps the node's credentials, and the new ones that a station gives
// it; package identity has one. Credentials of a Config that are the same Renewal
// are the newest ones at every connection.
type Renewal interface {
	bus.Credentials
	// Signer signs with the key of this moment.
	Signer() message.Signer
	// Life is when the node's JWT was issued and when it ends, zero for never.
	Life() (from, until time.Time)
	// RenewJWT lets the node ask for a new JWT and do nothing else; "" for none.
	RenewJWT() (token string, until time.Time)
	// Wanted signs with the key to ask a JWT for: a new one if newKey, or if one
	// was asked for before.
	Wanted(newKey bool) (message.Signer, error)
	// Adopt checks and keeps JWTs for that key. The error is Refused for those
	// that are not the node's; Internal where they could not be written.
	Adopt(node, renew string, issuers []string) error
}

// renewer asks for new JWTs when two thirds of the life of the node's are over,
// by the broker's clock, and when the broker takes it no more.
type renewer struct {
	agent *Agent
	keys  Renewal
	mu    sync.Mutex // held while JWTs are asked for
}

// renewAt is when new JWTs are due; zero is never.
func renewAt(from, until time.Time) time.Time {
	if until.IsZero() {
		return time.Time{}
	}
	return from.Add(until.Sub(from) * 2 / 3)
}

// every is the pause between looks, and between attempts that fail: a thousandth
// of a JWT's life, so that there are hundreds before it ends, with jitter, so that
// a fleet that joined in one day does not ask in one moment.
func (r *renewer) every() time.Duration {
	from, until := r.keys.Life()
	d := min(max(until.Sub(from)/1000, leastLook), mostLook)
	return d/2 + rand.N(d/2+1)
}

const (
	leastLook = 50 * time.Millisecond
	mostLook  = time.Hour
	// downLook is how often a node without a link looks whether the broker
	// refuses it.
	downLook = 5 * time.Second
)

func (r *renewer) run(ctx context.Context) error {
	if _, until := r.keys.Life(); until.IsZero() {
		r.agent.log.Info("the node's credentials have no end and are not renewed")
		<-ctx.Done()
		return nil
	}
	told := false                         // that the broker refuses the node
	look := host.BootClock() + downLook/5 // the first comes soon
	for {
		// The broker may refuse the node long before the next look is due.
		pause(ctx, min(max(look-host.BootClock(), leastLook), downLook))
		if ctx.Err() != nil {
			return nil
		}
		if r.agent.link.stands() && host.BootClock() < look {
			continue
		}
		look = host.BootClock() + r.every()
		switch {
		case r.agent.link.stands():
			told = false
			if !r.due() {
				continue
			}
			if err := r.renew(ctx, r.agent.conn, false); err != nil {
				r.agent.log.Warn("the node's JWT is not renewed yet", "error", err)
			}
		case r.agent.conn.Refused():
			err := r.comeBack(ctx)
			if err == nil {
				r.agent.log.Info("the node's JWT had ended and was renewed: connecting with it")
			} else if !told {
				told = true
				r.agent.log.Error("the broker refuses this node and it cannot renew its JWT; it goes on with what it has and tries again", "error", err)
			}
		}
	}
}

// Renew is renew over the agent's own link, as a command asks for it.
func (r *renewer) Renew(ctx context.Context, newKey bool) (key string, until time.Time, err error) {
	if err := r.renew(ctx, r.agent.conn, newKey); err != nil {
		return "", time.Time{}, err
	}
	_, until = r.keys.Life()
	return r.keys.PublicKey(), until, nil
}

// due reports whether two thirds of the JWT's life are over, or a new key was
// asked for and the answer never arrived: a station may know it already, and
// believe the old one for a while only.
func (r *renewer) due() bool {
	if wanted, err := r.keys.Wanted(false); err == nil && wanted.PublicKey() != r.keys.Signer().PublicKey() {
		return true
	}
	now := r.agent.clock.Now()
	return !now.IsZero() && !now.Before(renewAt(r.keys.Life()))
}

// renew asks for new JWTs, for a new key where one is wanted, and connects anew
// with them.
func (r *renewer) renew(ctx context.Context, conn *bus.Conn, newKey bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := r.agent.cfg.Name
	key, err := r.keys.Wanted(newKey)
	if err != nil {
		return err
	}
	q := message.RenewRequest{Key: key.PublicKey()}
	if q.Key != r.keys.Signer().PublicKey() {
		if q.Proof, err = message.ProveHeld(message.ToRenew, name, name, key); err != nil {
			return err
		}
	}
	reply, err := r.ask(ctx, conn, q)
	if err != nil {
		return err
	}
	if err := r.keys.Adopt(reply.Node, reply.Renew, r.agent.trust.Current().Issuers); err != nil {
		if fleet.KindOf(err) != fleet.Internal || r.keys.UserJWT() != reply.Node {
			return err
		}
		r.agent.log.Error("the node's new credentials are used but not on disk", "error", err)
	}
	_, until := r.keys.Life()
	r.agent.log.Info("the node has new credentials", "key", r.keys.PublicKey(), "until", until.UTC())
	r.agent.conn.Reconnect()
	return nil
}

// ask puts a request to a station, which the node's key signs, and takes the trust set
// that comes with the answer.
func (r *renewer) ask(ctx context.Context, conn *bus.Conn, q message.RenewRequest) (reply message.RenewReply, err error) {
	name := r.agent.cfg.Name
	m, err := message.SignBody(message.RenewSubject(name), name, "", q, r.keys.Signer())
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	if err := conn.Ask(ctx, subjects.RenewOf(name), message.Enclose(m), &reply); err != nil {
		return reply, err
	}
	// Who was away may not know who issues JWTs now.
	if set, err := reply.Trust.Message(message.TrustSubject()); err == nil && !reply.Trust.IsZero() {
		if err := r.agent.trust.Offer(set); err != nil && fleet.KindOf(err) != fleet.Conflict {
			r.agent.log.Warn("the station's trust set is not taken", "error", err)
		}
	}
	return reply, nil
}

// comeBack renews over a connection that may do nothing else, when the broker
// refuses the node's own JWT.
func (r *renewer) comeBack(ctx context.Context) error {
	token, until := r.keys.RenewJWT()
	if token == "" {
		return fleet.Errorf(fleet.Refused, "there is no JWT to renew with: have the node join again with a new token")
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: r.agent.cfg.URL, TLS: r.agent.cfg.TLS, Server: r.agent.cfg.Server,
		Credentials: renewing{r.keys, token}, Logger: r.agent.log})
	if fleet.KindOf(err) == fleet.Refused {
		return fleet.Errorf(fleet.Refused, "%w: the node was revoked, or away until its time to renew was over (%s): have it join again with a new token",
			err, until.UTC().Format(time.RFC3339))
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	return r.renew(ctx, conn, false)
}

// renewing are the node's credentials with the JWT that may only renew.
type renewing struct {
	Renewal
	token string
}

func (r renewing) UserJWT() string { return r.token }

// signer signs what the node says, with the key of this moment.
func (a *Agent) signer() message.Signer {
	if a.cfg.Renewal != nil {
		return a.cfg.Renewal.Signer()
	}
	return a.cfg.Credentials
}
