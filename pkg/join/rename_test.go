package join_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// order is a signed command to a node to take another name.
func (s *site) order(node, to string, expires time.Duration, from *identity.Credentials) message.Message {
	s.t.Helper()
	body, err := json.Marshal(handlers.RenameBody{To: to})
	if err != nil {
		s.t.Fatal(err)
	}
	m := message.Message{Subject: subjects.Subject{Node: node, Direction: subjects.Command, Method: handlers.MethodRename, Domain: "agent"},
		ID: message.NewID(), From: from.Name, Body: body, Expires: time.Now().Add(expires)}
	if err := m.Sign(from); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// opened is the identity of a host that joins.
func (s *site) opened(name string) *identity.Node {
	s.t.Helper()
	j, err := s.join(s.token(func(r *station.TokenRecord) { r.Labels, r.Address = map[string]string{"role": "edge"}, "127.0.0.9" }), name)
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := identity.OpenNode(j.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// wantsName has a node ask to become another by a command.
func (s *site) wantsName(node *identity.Node, to string, command message.Message, key message.Signer, proof string) (reply message.RenewReply, err error) {
	s.t.Helper()
	name := node.UserName()
	if proof == "" {
		if proof, err = message.ProveHeld(message.ToRename, name, to, key); err != nil {
			s.t.Fatal(err)
		}
	}
	m, err := message.SignBody(message.RenewSubject(name), name, "",
		message.RenewRequest{Key: key.PublicKey(), Proof: proof, Rename: &message.Rename{To: to, Command: message.Enclose(command)}}, node)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply, s.connect(node).Ask(within(s.t), subjects.RenewOf(name), message.Enclose(m), &reply)
}

func TestANodeBecomesAnotherByAnAdministratorsCommandAlone(t *testing.T) {
	s := running(t)
	s.station("station-b")
	ship1, ship2 := s.opened("ship1"), s.opened("ship2")
	alice, olga := s.creds("alice", subjects.Admin), s.creds("olga", subjects.Operator)
	fresh := key(t, stranger(t))
	good := s.order("ship1", "ship9", time.Hour, alice)
	renewal, err := message.ProveHeld(message.ToRenew, "ship1", "ship1", fresh)
	if err != nil {
		t.Fatal(err)
	}
	changed := good
	changed.Body = []byte(`{"to":"ship8"}`)
	for what, c := range map[string]struct {
		by      *identity.Node
		to      string
		command message.Message
		key     message.Signer
		proof   string
		kind    fleet.Kind
		says    string
	}{
		"an operator's command":       {ship1, "ship9", s.order("ship1", "ship9", time.Hour, olga), fresh, "", fleet.Refused, "may not send rename"},
		"a stranger's command":        {ship1, "ship9", s.order("ship1", "ship9", time.Hour, s.creds(untrusted, subjects.Station)), fresh, "", fleet.Refused, ""},
		"the node's own":              {ship1, "ship9", s.order("ship1", "ship9", time.Hour, ship1.Credentials()), fresh, "", fleet.Refused, ""},
		"a station's":                 {ship1, "ship9", s.order("ship1", "ship9", time.Hour, s.creds("station-a", subjects.Station)), fresh, "", fleet.Refused, "may not give nodes other names"},
		"one about another name":      {ship1, "ship8", good, fresh, "", fleet.Refused, "not about the name ship8"},
		"one that was changed":        {ship1, "ship8", changed, fresh, "", fleet.Refused, "signature"},
		"one whose time is over":      {ship1, "ship9", s.order("ship1", "ship9", -time.Second, alice), fresh, "", fleet.Expired, "was good until"},
		"another node's command":      {ship2, "ship9", good, fresh, "", fleet.Refused, "signature"},
		"no command":                  {ship1, "ship9", message.Message{}, fresh, "", fleet.Refused, "not signed"},
		"a name that is taken":        {ship1, "ship2", s.order("ship1", "ship2", time.Hour, alice), fresh, "", fleet.Conflict, "there is a node ship2 already"},
		"its own name":                {ship1, "ship1", s.order("ship1", "ship1", time.Hour, alice), fresh, "", fleet.Refused, "another name"},
		"no name":                     {ship1, "Ship 9", s.order("ship1", "Ship 9", time.Hour, alice), fresh, "", fleet.Invalid, ""},
		"its own key":                 {ship1, "ship9", good, ship1.Signer(), "", fleet.Refused, "another key"},
		"another node's key":          {ship1, "ship9", good, ship2.Signer(), "", fleet.Conflict, "is or was that of node ship2"},
		"a person's key":              {ship1, "ship9", good, alice, "", fleet.Refused, "is alice's"},
		"a proof for another purpose": {ship1, "ship9", good, fresh, renewal, fleet.Refused, "prove to hold"},
		"a key that it does not hold": {ship1, "ship9", good, fresh, "AAAA", fleet.Refused, "prove to hold"},
	} {
		_, err := s.wantsName(c.by, c.to, c.command, c.key, c.proof)
		s.refused(what, c.kind, c.says, err)
	}
	if nodes := s.registered(); len(nodes) != 2 {
		t.Errorf("the register has %v", nodes)
	}

	for range 2 { // again, since the answer was lost, at whichever station
		reply, err := s.wantsName(ship1, "ship9", good, fresh, "")
		if err != nil {
			t.Fatal(err)
		}
		if i, err := identity.ReadIssued(reply.Node); err != nil || i.Name != "ship9" || i.Role != subjects.Node || i.Key != fresh.PublicKey() {
			t.Errorf("it gets %+v, %v", i, err)
		}
	}
	r, err := s.client.Registered(within(t), "ship9")
	if err != nil || r.Labels["role"] != "edge" || r.Address != "127.0.0.9" || r.Renamed == nil || r.Renamed.From != "ship1" || r.Renamed.By != "alice" || r.Renamed.Command != good.ID {
		t.Errorf("the register has %+v, %+v, %v", r, r.Renamed, err)
	}
	_, err = s.wantsName(ship1, "ship9", good, key(t, stranger(t)), "")
	s.refused("another key with the same command", fleet.Conflict, "there is a node ship9 already", err)
	s.told("ship1", message.LifecycleRenamed, "is ship9 from now on: by alice")
	s.told("ship9", message.LifecycleRenamed, "was ship1 until now: by alice")

	// Who was taken out again does not come back by the same command.
	if _, err := s.client.RemoveNode(within(t), "ship9"); err != nil {
		t.Fatal(err)
	}
	_, err = s.wantsName(ship1, "ship9", good, fresh, "")
	s.refused("a name that was removed since", fleet.Refused, "was removed since", err)
	if _, err := s.wantsName(ship1, "ship9", s.order("ship1", "ship9", time.Hour, alice), fresh, ""); err != nil {
		t.Error("by a command of later:", err)
	}
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	_, err = s.wantsName(ship1, "ship7", s.order("ship1", "ship7", time.Hour, alice), key(t, stranger(t)), "")
	s.refused("a node that was removed", fleet.Refused, "not in the register", err)
}

func TestARenameTakesAPlaceOfTheQuota(t *testing.T) {
	s := open(t)
	err := s.authority.SetQuota(identity.Quota{Nodes: 1})
	if err == nil {
		s.trust, err = s.authority.TrustSet()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.station("station-a")
	ship1, fresh := s.opened("ship1"), key(t, stranger(t))
	_, err = s.wantsName(ship1, "ship9", s.order("ship1", "ship9", time.Hour, s.creds("alice", subjects.Admin)), fresh, "")
	s.refused("one node too many", fleet.Busy, "may have 1 nodes", err)
	if nodes := s.registered(); len(nodes) != 1 {
		t.Errorf("the register has %v", nodes)
	}
}

// A node's files would be those of another for a moment, were it to find what the one
// that had its name before was to be.
func TestARenamedNodeNeverFindsWhatAnotherOfTheNameWasToBe(t *testing.T) {
	s := running(t)
	alice := s.creds("alice", subjects.Admin)
	apply := func(name, selector string, port int) {
		t.Helper()
		set, err := manifest.Read("test", strings.NewReader(fmt.Sprintf("{apiVersion: fairlead/v1, kind: VirtualHost, metadata: {name: %s}, "+
			"spec: {selector: %q, listen: [{port: %d}], serverNames: [%s.example.org], locations: [{path: /, return: {code: 200, text: x}}]}}", name, selector, port, "one")))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := s.client.Plan(within(t), set, false)
		if err == nil {
			_, err = s.client.Apply(within(t), plan)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	desired := func(name string) (ids []string) {
		t.Helper()
		e, err := s.client.Conn().Get(within(t), subjects.Desired, subjects.StateKey(name, handlers.MethodNginxConfig, "nginx"))
		if fleet.KindOf(err) == fleet.Unknown {
			return nil
		}
		m, merr := e.Message(message.DesiredSubject(name, handlers.MethodNginxConfig, "nginx"))
		if err = errors.Join(err, merr, m.Unpack()); err != nil {
			t.Fatal(err)
		}
		var d nginx.Desired
		if err := json.Unmarshal(m.Body, &d); err != nil {
			t.Fatal(err)
		}
		for _, r := range d.Resources {
			ids = append(ids, r.ID())
		}
		return ids
	}
	s.opened("ship9")
	apply("a", "node=ship9", 8080)
	s.eventually("ship9 has its desired state", func() bool { return len(desired("ship9")) == 1 })
	if _, err := s.client.RemoveNode(within(t), "ship9"); err != nil {
		t.Fatal(err)
	}
	ship1 := s.opened("ship1")
	apply("b", "role=edge", 8081)
	s.eventually("ship1 has its desired state", func() bool { return len(desired("ship1")) == 1 })
	if _, err := s.wantsName(ship1, "ship9", s.order("ship1", "ship9", time.Hour, alice), key(t, stranger(t)), ""); err != nil {
		t.Fatal(err)
	}
	if ids := desired("ship9"); fmt.Sprint(ids) != "[VirtualHost/a VirtualHost/b]" {
		t.Errorf("when it has its name it is to be %q", ids)
	}

	// Where it cannot have what it should, it does not get the name.
	if _, err := s.client.RemoveNode(within(t), "ship9"); err != nil {
		t.Fatal(err)
	}
	apply("b", "role=edge", 8080) // the same name on the same port
	_, err := s.wantsName(ship1, "ship9", s.order("ship1", "ship9", time.Hour, alice), key(t, stranger(t)), "")
	s.refused("a name under which it could not take its resources", fleet.Refused, "could not take what it would be given", err)
	if nodes := s.registered(); len(nodes) != 1 {
		t.Errorf("the register has %v", nodes)
	}
}
