package announce_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func TestBrokersAndStationsAreToldOfTenThousandRevokedNodes(t *testing.T) {
	s := open(t)
	var nodes []identity.User
	for range 10_000 {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw)
		key, err := nkeys.Encode(nkeys.PrefixByteUser, raw)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, identity.User{Name: "n", Role: subjects.Node, Key: string(key)})
	}
	first := s.trusts()
	if err := s.au.RevokeKeys("scrapped", nodes...); err != nil {
		t.Fatal(err)
	}
	s.push(s.au)
	s.tell(s.au, false)
	station := s.connect(s.au, "station", subjects.Station)
	k, err := message.NewTrustKeeper(first, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := station.NewestTrust(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if missing := len(k.Missing()); missing != 10 {
		t.Errorf("the set names %d lists", missing)
	}
	if err := station.RevokedNodes(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if owner, known := k.Find(n.Key); known || owner.Why == "" {
			t.Fatal("a node is not revoked")
		}
	}
	s.tell(s.au, false) // nothing is new, and nothing is learned
}
