package join_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// stranger is a key of one's own.
func stranger(t *testing.T) *identity.Node {
	t.Helper()
	n, err := identity.NewNode(t.TempDir(), "A", "x")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func key(t *testing.T, n *identity.Node) message.Signer {
	t.Helper()
	k, err := n.Wanted(true)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// asks sends a request as the holder of a token.
func (s *site) asks(token identity.Token, e message.Enclosed) error {
	s.t.Helper()
	c, err := token.Credentials()
	if err != nil {
		s.t.Fatal(err)
	}
	var answer message.Enclosed
	return s.connect(c).Ask(within(s.t), subjects.JoinWith(token.ID()), e, &answer)
}

// request is a good request, for a name and a key.
func (s *site) request(token identity.Token, name string, k message.Signer, change ...func(*message.JoinRequest)) message.Enclosed {
	s.t.Helper()
	proof, err := message.ProveHeld(message.ToJoin, token.ID(), name, k)
	if err != nil {
		s.t.Fatal(err)
	}
	r := message.JoinRequest{Name: name, Key: k.PublicKey(), Proof: proof}
	for _, c := range change {
		c(&r)
	}
	c, err := token.Credentials()
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := message.SignBody(message.JoinRequestSubject(token.ID()), token.ID(), "", r, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return message.Enclose(m)
}

func TestARequestThatIsNotWholeIsRefused(t *testing.T) {
	s := running(t)
	token, other := s.token(), s.token()
	mine, theirs := key(t, stranger(t)), key(t, stranger(t))
	good := s.request(token, "ship1", mine)
	alice := s.creds("alice", subjects.Admin)

	changed := message.Enclosed{Headers: good.Headers}
	var r message.JoinRequest
	if err := json.Unmarshal(good.Body, &r); err != nil {
		t.Fatal(err)
	}
	r.Name = "ship2"
	changed.Body, _ = json.Marshal(r)

	byAnother, err := message.SignBody(message.JoinRequestSubject(token.ID()), token.ID(), "", r, theirs)
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]struct {
		request message.Enclosed
		kind    fleet.Kind
		say     string
	}{
		"nothing":                 {message.Enclosed{}, fleet.Invalid, "cannot be read"},
		"a changed name":          {changed, fleet.Refused, "signature does not fit"},
		"one that nobody signed":  {message.Enclosed{Body: good.Body}, fleet.Refused, "not signed"},
		"one by another key":      {message.Enclose(byAnother), fleet.Refused, "another key than the token's"},
		"another token's":         {s.request(other, "ship1", mine), fleet.Refused, "signature does not fit"},
		"no proof of the key":     {s.request(token, "ship1", mine, func(r *message.JoinRequest) { r.Proof = "" }), fleet.Refused, "prove to hold key"},
		"a key that it saw":       {s.request(token, "ship1", mine, func(r *message.JoinRequest) { r.Key = theirs.PublicKey() }), fleet.Refused, "prove to hold key"},
		"the proof of a name":     {s.request(token, "ship1", mine, func(r *message.JoinRequest) { r.Name = "ship3" }), fleet.Refused, "prove to hold key"},
		"a person's key":          {s.request(token, "ship1", alice), fleet.Refused, "is alice's"},
		"what is no key":          {s.request(token, "ship1", mine, func(r *message.JoinRequest) { r.Key = "U" }), fleet.Refused, "not a user's public key"},
		"a curve that is none":    {s.request(token, "ship1", mine, func(r *message.JoinRequest) { r.Facts.Curve = "X" }), fleet.Invalid, "curve"},
		"a name with wildcards":   {s.request(token, ">", mine), fleet.Invalid, "node name"},
		"a name of several words": {s.request(token, "ship1.event", mine), fleet.Invalid, "node name"},
	} {
		s.refused(what, try.kind, try.say, s.asks(token, try.request))
	}
	s.told("-", message.LifecycleJoinRefused, "node name")
	if err := s.asks(token, good); err != nil {
		t.Error("what was refused spent the token:", err)
	}
	// The very same request once more makes the same node, and no other.
	if err := s.asks(token, good); err != nil || s.used(token) != 1 {
		t.Error("a request that came twice:", err, s.used(token))
	}
}

func TestOneKeyIsOneNode(t *testing.T) {
	s := running(t)
	token := s.token(func(r *station.TokenRecord) { r.Uses = 2 })
	k := key(t, stranger(t))
	if err := s.asks(token, s.request(token, "ship1", k)); err != nil {
		t.Fatal(err)
	}
	s.refused("one key for two nodes", fleet.Conflict, "is that of node ship1", s.asks(token, s.request(token, "ship2", k)))
}

func TestNobodyElsesTokenLetsAnyoneIn(t *testing.T) {
	s := running(t)
	for who, try := range map[string]struct {
		make func() error
		kind fleet.Kind
		say  string
	}{
		"a viewer": {func() error {
			_, _, err := s.as("vera", subjects.Viewer).MakeToken(within(t), s.newRecord(), time.Hour)
			return err
		}, fleet.Refused, "the broker does not let vera publish"},
		"a station that nobody trusts": {func() error {
			return s.writeToken(s.conn(untrusted, subjects.Station), s.creds(untrusted, subjects.Station))
		}, fleet.Refused, "the broker does not let mallory publish"},
		"an administrator that nobody trusts": {func() error {
			s.creds("eve", subjects.Admin)
			return s.writeToken(s.conn("eve", subjects.Admin), s.creds("eve", subjects.Admin))
		}, fleet.Refused, "not made by who may make one"},
		"alice's name and another's key": {func() error {
			return s.writeToken(s.conn("alice", subjects.Admin), s.creds("vera", subjects.Viewer))
		}, fleet.Refused, "vera is viewer"},
	} {
		s.refused(who, try.kind, try.say, try.make())
	}
}

func (s *site) newRecord() station.TokenRecord {
	s.t.Helper()
	public, _, err := identity.NewUserKey()
	if err != nil {
		s.t.Fatal(err)
	}
	return station.TokenRecord{Key: public, Uses: 1, Expires: time.Now().Add(time.Hour)}
}

// writeToken writes a token by somebody's connection that somebody signed, and
// asks for its JWT.
func (s *site) writeToken(conn *bus.Conn, signer *identity.Credentials) error {
	s.t.Helper()
	r := s.newRecord()
	m, err := station.SignToken(r, signer.Name, signer)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Put(within(s.t), subjects.Tokens, bus.Change{Key: r.ID(), Document: m}); err != nil {
		return err
	}
	var answer station.TokenAnswer
	return s.client.Conn().Ask(within(s.t), subjects.Query(station.QueryToken), station.TokenQuestion{ID: r.ID()}, &answer)
}

// A station issues the JWT of a token to whoever asks: it is of use to the holder
// of the token's key alone.
func TestAViewerHasNoUseOfATokensJWT(t *testing.T) {
	s := running(t)
	token := s.token()
	var answer station.TokenAnswer
	vera := s.creds("vera", subjects.Viewer)
	if err := s.conn("vera", subjects.Viewer).Ask(within(t), subjects.Query(station.QueryToken), station.TokenQuestion{ID: token.ID()}, &answer); err != nil {
		t.Fatal(err)
	}
	_, err := bus.Connect(within(t), bus.Options{URL: s.url, Credentials: stolen{vera, answer.JWT, token.ID()}})
	s.refused("a JWT without its key", fleet.Refused, "", err)
}

// stolen are credentials with the JWT of another.
type stolen struct {
	*identity.Credentials
	jwt, name string
}

func (s stolen) UserJWT() string  { return s.jwt }
func (s stolen) UserName() string { return s.name }
func (s stolen) Inbox() string    { return subjects.Inbox(s.name) }

func TestATokenEndsWithItsMaker(t *testing.T) {
	s := running(t)
	olga := s.as("olga", subjects.Operator)
	token := s.tokenOf(olga, time.Hour, func(r *station.TokenRecord) { r.Uses = station.MaxUses })
	if _, err := s.join(token, "ship0"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.authority.Revoke("olga", "left"); err != nil {
		t.Fatal(err)
	}
	s.pushTrust()
	ctx := within(t)
	for i := 1; ; i++ { // until the station has heard of it
		if _, err := s.join(token, fmt.Sprintf("ship%d", i)); err != nil {
			s.refused("the token of somebody who was revoked", fleet.Refused, "revoked", err)
			return
		}
		if ctx.Err() != nil {
			t.Fatal("who was revoked still lets nodes in")
		}
	}
}

// forged is a station that only the broker believes, and that answers in any
// way it likes.
func (s *site) forged(answer func(request message.Message) (message.JoinReply, message.Signer)) {
	s.t.Helper()
	conn := s.conn(untrusted, subjects.Station)
	stop, err := conn.Service(s.t.Context(), "forged", "1.0.0", "answers as it likes", bus.Endpoint{
		Name: "join", Subject: subjects.JoinAll, Handle: func(_ context.Context, subject string, body []byte) (any, error) {
			id := subjects.TokenOfJoin(subject)
			var e message.Enclosed
			if err := json.Unmarshal(body, &e); err != nil {
				return nil, err
			}
			m, err := e.Message(message.JoinRequestSubject(id))
			if err != nil {
				return nil, err
			}
			reply, signer := answer(m)
			sent, err := message.SignBody(message.JoinReplySubject(id), "station-a", m.ID, reply, signer)
			return message.Enclose(sent), err
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(stop)
	if err := conn.Flush(within(s.t)); err != nil {
		s.t.Fatal(err)
	}
}

// forgeable is a site whose tokens come from a station that has gone.
func forgeable(t *testing.T) (*site, identity.Token) {
	t.Helper()
	s := open(t)
	stop := s.station("station-a")
	token := s.token()
	stop()
	return s, token
}

// issue makes the JWTs that a request asks for.
func issue(t *testing.T, a *identity.Authority, m message.Message) (r message.JoinReply) {
	t.Helper()
	var q message.JoinRequest
	if err := json.Unmarshal(m.Body, &q); err != nil {
		t.Error(err)
	}
	r.Name, r.Now = q.Name, time.Now()
	var err error
	if r.Node, err = a.Issuer().Issue(subjects.Node, q.Name, q.Key, r.Now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if r.Renew, err = a.Issuer().Issue(subjects.Renew, q.Name, q.Key, r.Now.Add(2*time.Hour)); err != nil {
		t.Error(err)
	}
	return r
}

// Whoever stands between host and station, broker included, makes no node of
// another fleet, or with keys of its own, of the host.
func TestAForgedAnswerIsNotBelieved(t *testing.T) {
	other, err := identity.Open(t.TempDir(), identity.Options{Methods: handlers.All().Sent()})
	if err != nil {
		t.Fatal(err)
	}
	u, err := other.User("station-a", subjects.Station)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := identity.LoadCreds(u.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	foreignTrust, err := other.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]struct {
		answer func(s *site, m message.Message) (message.JoinReply, message.Signer)
		say    string
	}{
		"another fleet's": {func(_ *site, m message.Message) (message.JoinReply, message.Signer) {
			r := issue(t, other, m)
			r.Trust = message.Enclose(foreignTrust)
			return r, foreign
		}, "another account's"},
		"a trust set of the fleet that somebody else signed": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			mallory := s.creds(untrusted, subjects.Station)
			set, err := message.OpenTrust(s.trust)
			if err != nil {
				t.Error(err)
			}
			set.Version, set.Signers = 99, []string{mallory.Key}
			set.Keys = append(set.Keys, message.TrustedKey{Key: mallory.Key, Name: untrusted, Role: subjects.Station, Methods: []string{"*"}})
			forged, err := message.SignTrust(set, mallory)
			if err != nil {
				t.Error(err)
			}
			r := issue(t, s.authority, m)
			r.Trust = message.Enclose(forged)
			return r, mallory
		}, "a key that the token does not name"},
		"the right trust set from a station that it does not name": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			r := issue(t, s.authority, m)
			r.Trust = message.Enclose(s.trust)
			return r, s.creds(untrusted, subjects.Station)
		}, "no station that the trust set names"},
		"the right trust set from a person": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			r := issue(t, s.authority, m)
			r.Trust = message.Enclose(s.trust)
			return r, s.creds("alice", subjects.Admin)
		}, "no station that the trust set names"},
		"no trust set": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			return issue(t, s.authority, m), s.creds("station-a", subjects.Station)
		}, "not signed"},
		"JWTs of another fleet, by a station that was taken over": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			r := issue(t, other, m)
			r.Trust = message.Enclose(s.trust)
			return r, s.creds("station-a", subjects.Station)
		}, "does not name as an issuer"},
		"the answer to another host": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			r := issue(t, s.authority, m)
			r.Name, r.Trust = "ship2", message.Enclose(s.trust)
			return r, s.creds("station-a", subjects.Station)
		}, "another question"},
		"JWTs for another key": {func(s *site, m message.Message) (message.JoinReply, message.Signer) {
			r := issue(t, s.authority, m)
			r.Trust = message.Enclose(s.trust)
			r.Node, _ = s.authority.Issuer().Issue(subjects.Node, "ship1", s.creds("vera", subjects.Viewer).Key, time.Now().Add(time.Hour))
			return r, s.creds("station-a", subjects.Station)
		}, "is for key"},
	} {
		s, token := forgeable(t)
		s.forged(func(m message.Message) (message.JoinReply, message.Signer) { return try.answer(s, m) })
		_, err := s.join(token, "ship1")
		s.refused(what, fleet.Refused, try.say, err)
	}
}

// A trust set from before the token may trust whom nobody trusts any more.
func TestAnOlderTrustSetThanTheTokensIsNotBelieved(t *testing.T) {
	s, token := forgeable(t)
	s.forged(func(m message.Message) (message.JoinReply, message.Signer) {
		r := issue(t, s.authority, m)
		r.Trust = message.Enclose(s.trust)
		return r, s.creds("station-a", subjects.Station)
	})
	token.Version++
	_, err := s.join(token, "ship1")
	s.refused("an older trust set", fleet.Refused, "older than the token", err)
}

// With JetStream's answers many can write over a name what nobody signed, often
// enough for the register to forget whose it is. It is not free for that.
func TestANameThatWasWrittenOverIsNotFree(t *testing.T) {
	s := running(t, func(c *station.Config) { c.SweepEvery = time.Hour })
	if _, err := s.join(s.token(), "ship1"); err != nil {
		t.Fatal(err)
	}
	for range 10 { // and the register keeps 8
		if _, err := s.client.Conn().Put(within(t), subjects.Nodes, bus.Change{Key: "ship1", Document: message.Message{Body: []byte("rubbish")}, Expect: bus.Any}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.join(s.token(), "ship1")
	s.refused("another host under that name", fleet.Conflict, "there is a node ship1 already", err)
	if _, err := s.join(s.token(), "ship2"); err != nil {
		t.Error("nor does any other join:", err)
	}
}

func TestJoinsAtOnceKeepToTheQuota(t *testing.T) {
	for _, stations := range []int{1, 2} {
		t.Run(fmt.Sprint(stations), func(t *testing.T) { joinsAtOnce(t, stations) })
	}
}

func joinsAtOnce(t *testing.T, stations int) {
	s := open(t)
	err := s.authority.SetQuota(identity.Quota{Nodes: 3})
	if err == nil {
		s.trust, err = s.authority.TrustSet()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"station-a", "station-b"}[:stations] {
		s.station(name)
	}
	token := s.token(func(r *station.TokenRecord) { r.Uses = 20 })
	asked, all := make(chan error, 20), make(chan struct{})
	for i := range cap(asked) {
		name := fmt.Sprintf("ship%d", i)
		e := s.request(token, name, key(t, stranger(t)))
		c, err := token.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		conn := s.connect(c)
		go func() {
			var answer message.Enclosed
			<-all
			asked <- conn.Ask(t.Context(), subjects.JoinWith(token.ID()), e, &answer)
		}()
	}
	close(all)
	joined := 0
	for range cap(asked) {
		if err := <-asked; err == nil {
			joined++
		} else {
			s.refused("one too many", fleet.Busy, "the tenant may have 3 nodes", err)
		}
	}
	if used := s.used(token); joined != 3 || used != 3 {
		t.Errorf("%d joined, with %d uses of the token", joined, used)
	}
	if nodes := s.registered(); len(nodes) != 3 {
		t.Errorf("the register has %v", nodes)
	}
}

func TestNodesThatAreAddedAtOnceKeepToTheQuota(t *testing.T) {
	s := open(t)
	err := s.authority.SetQuota(identity.Quota{Nodes: 3})
	if err == nil {
		s.trust, err = s.authority.TrustSet()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.station("station-a") // which stores the set
	added, all := make(chan error, 12), make(chan struct{})
	for i := range cap(added) {
		c := s.as("alice", subjects.Admin)
		r := station.NodeRecord{Name: fmt.Sprintf("ship%d", i), Key: key(t, stranger(t)).PublicKey(), Since: time.Now()}
		go func() {
			<-all
			added <- c.Register(t.Context(), r)
		}()
	}
	close(all)
	good := 0
	for range cap(added) {
		if err := <-added; err == nil {
			good++
		} else {
			s.refused("one too many", fleet.Busy, "the tenant may have 3 nodes", err)
		}
	}
	if nodes := s.registered(); len(nodes) != good || good > 3 {
		t.Errorf("%d were added, and the register has %v", good, nodes)
	}
}

// registered are the names that the register has.
func (s *site) registered() (names []string) {
	s.t.Helper()
	err := s.client.Conn().Keys(within(s.t), subjects.Nodes, func(e bus.Entry) error {
		if !e.Deleted {
			names = append(names, e.Key)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}
