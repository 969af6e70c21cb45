package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Options say who joins and with what. Token, Name and Dir are needed.
type Options struct {
	Token  identity.Token
	Name   string            // of the node that the host becomes
	Labels map[string]string // that it gives itself, as far as the token lets it
	Facts  fleet.Facts       // about the host, for who approves it
	Dir    string            // where the identity is to lie; 0700, made where missing
	Logger *slog.Logger
	// Cert and Key are files with a certificate of this host, for brokers that
	// ask for one.
	Cert, Key string
	// OnWaiting is told, once, that a person has to approve the node, and the
	// key by which to know it.
	OnWaiting func(key string)
	// AskEvery is the time between questions while it waits; 5 seconds.
	AskEvery time.Duration
}

// Joined is what a host became.
type Joined struct {
	Name   string
	Key    string
	Labels map[string]string
	Until  time.Time // the end of its first JWT
	Dir    string
}

// Join joins. The error is a station's refusal, with its reason; Refused where
// somebody answers who is not the fleet that the token is of; Conflict where the
// directory holds a node's identity already; Unavailable without a broker or a
// station.
func Join(ctx context.Context, o Options) (Joined, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AskEvery == 0 {
		o.AskEvery = 5 * time.Second
	}
	if err := fleet.CheckNode(o.Name); err != nil {
		return Joined{}, err
	}
	node, err := identity.NewNode(o.Dir, o.Token.Account, o.Name)
	if err != nil {
		return Joined{}, err
	}
	j := &joining{Options: o, node: node}
	if j.holder, err = o.Token.Credentials(); err != nil {
		return Joined{}, err
	}
	if j.key, err = node.Wanted(true); err != nil {
		return Joined{}, err
	}
	if err := j.connect(ctx); err != nil {
		return Joined{}, err
	}
	defer j.conn.Close()
	reply, err := j.ask(ctx)
	if err != nil {
		return Joined{}, err
	}
	return j.keep(reply)
}

// joining is a host on its way.
type joining struct {
	Options
	node   *identity.Node
	holder *identity.Credentials // of the token
	key    message.Signer        // the node's, to be
	conn   *bus.Conn
	secure bus.TLS
	trust  message.Message  // as the station handed it over, checked
	set    message.TrustSet // what it says
}

func (j *joining) connect(ctx context.Context) (err error) {
	o := bus.Options{URL: j.Token.URL, Credentials: j.holder, Logger: j.Logger}
	if j.Token.CA != "" {
		var ca []byte
		if ca, o.TLS, err = bus.FetchCA(j.Token.URL, j.Token.CA); err != nil {
			return err
		}
		o.TLS.CA = filepath.Join(j.Dir, identity.NodeCA)
		if err := identity.WriteSecret(o.TLS.CA, ca); err != nil {
			return fleet.Errorf(fleet.Internal, "keep the broker's certificate: %w", err)
		}
	}
	o.TLS.Cert, o.TLS.Key = j.Cert, j.Key
	j.secure = o.TLS
	j.conn, err = bus.Connect(ctx, o)
	if end := j.holder.Expires; fleet.KindOf(err) == fleet.Refused && !end.IsZero() && time.Now().After(end) {
		return fleet.Errorf(fleet.Expired, "the token was good until %s: ask for another one", end.UTC().Format(time.RFC3339))
	}
	return err
}

// askTime bounds one question.
const askTime = 15 * time.Second

// ask asks until a station has decided.
func (j *joining) ask(ctx context.Context) (message.JoinReply, error) {
	told := false
	for {
		reply, err := j.once(ctx)
		if err != nil || !reply.Waiting {
			return reply, err
		}
		if !told && j.OnWaiting != nil {
			told = true
			j.OnWaiting(j.key.PublicKey())
		}
		timer := time.NewTimer(j.AskEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return reply, ctx.Err()
		}
	}
}

func (j *joining) once(ctx context.Context) (reply message.JoinReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	request := message.JoinRequest{Name: j.Name, Key: j.key.PublicKey(), Labels: j.Labels, Facts: j.Facts}
	if request.Proof, err = message.ProveHeld(message.ToJoin, j.holder.Name, j.Name, j.key); err != nil {
		return reply, err
	}
	m, err := message.SignBody(message.JoinRequestSubject(j.holder.Name), j.holder.Name, "", request, j.holder)
	if err != nil {
		return reply, err
	}
	var answer message.Enclosed
	err = j.conn.Ask(ctx, subjects.JoinWith(j.holder.Name), message.Enclose(m), &answer)
	if errors.Is(err, bus.ErrNobody) {
		return reply, fmt.Errorf("%w, and with station.keys: who lets nodes in has no other", err)
	}
	if err != nil {
		return reply, err
	}
	return j.believe(answer, m.ID)
}

// believe checks an answer against what the token says.
func (j *joining) believe(answer message.Enclosed, request string) (reply message.JoinReply, err error) {
	m, err := answer.Message(message.JoinReplySubject(j.holder.Name))
	if err == nil {
		err = m.CheckSignature()
	}
	if err == nil {
		err = json.Unmarshal(m.Body, &reply)
	}
	if err == nil && j.trust.Signature == "" {
		err = j.takeTrust(reply.Trust)
	}
	if err != nil {
		return reply, notTheFleet(err)
	}
	owner, known := j.set.Lookup(func() time.Time { return reply.Now })(m.Key)
	switch {
	case !known || owner.Role != subjects.Station:
		return reply, notTheFleet(errors.New("who answers is no station that the trust set names"))
	case m.Command != request || reply.Name != j.Name:
		return reply, notTheFleet(errors.New("it is the answer to another question"))
	}
	return reply, nil
}

// takeTrust checks the trust set that the station handed over.
func (j *joining) takeTrust(e message.Enclosed) error {
	m, err := e.Message(message.TrustSubject())
	if err != nil {
		return err
	}
	set, err := message.OpenTrust(m)
	switch {
	case err != nil:
		return err
	case set.Account != j.Token.Account:
		return errors.New("its trust set is another account's")
	case !slices.Contains(j.Token.Signers, m.Key):
		return errors.New("its trust set is signed by a key that the token does not name")
	case set.Version < j.Token.Version:
		return errors.New("its trust set is older than the token")
	}
	j.trust, j.set = m, set
	return nil
}

func notTheFleet(why error) error {
	return fleet.Errorf(fleet.Refused, "the answer is not from the fleet that the token is of, and nothing of it is believed: %w", why)
}

// keep writes the identity. That the credentials are there says that it is
// whole, so they come last.
func (j *joining) keep(reply message.JoinReply) (Joined, error) {
	trust, err := message.EncodeTrust(j.trust)
	if err != nil {
		return Joined{}, err
	}
	if err := identity.WriteSecret(filepath.Join(j.Dir, identity.NodeTrust), trust); err != nil {
		return Joined{}, fleet.Errorf(fleet.Internal, "keep the trust set: %w", err)
	}
	if err := identity.WriteConnection(j.Dir, identity.Connection{URL: j.Token.URL, GreetsFirst: j.secure.GreetsFirst}); err != nil {
		return Joined{}, err
	}
	if j.Token.CA == "" {
		_ = os.Remove(filepath.Join(j.Dir, identity.NodeCA)) // of an attempt with another token
	}
	if err := j.node.Adopt(reply.Node, reply.Renew, j.set.Issuers); err != nil {
		if fleet.KindOf(err) == fleet.Refused {
			err = notTheFleet(err)
		}
		return Joined{}, err
	}
	_, until := j.node.Life()
	return Joined{Name: j.Name, Key: j.key.PublicKey(), Labels: reply.Labels, Until: until, Dir: j.Dir}, nil
}
