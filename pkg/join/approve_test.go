package join_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/join"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func approved(r *station.TokenRecord) { r.Approve = true }

// waits joins in the background and returns what the host shows while it waits.
func (s *site) waits(token func() (join.Joined, error)) (done <-chan error) {
	ended := make(chan error, 1)
	go func() {
		_, err := token()
		ended <- err
	}()
	return ended
}

func TestANodeWaitsForItsApproval(t *testing.T) {
	asked := make(chan struct{})
	s := running(t, func(c *station.Config) { // a helper hears of each question
		c.JoinHelper = func(ctx context.Context, _ station.JoinCandidate) (station.JoinVerdict, error) {
			select {
			case asked <- struct{}{}:
			case <-ctx.Done():
			}
			return station.JoinVerdict{Allow: true}, nil
		}
	})
	token := s.token(approved)
	shown := make(chan string, 1)
	done := s.waits(func() (join.Joined, error) {
		return s.join(token, "ship1", func(o *join.Options) {
			o.OnWaiting = func(key string) { shown <- key }
			o.Facts = fleet.Facts{Hostname: "ship1.example.org"}
		})
	})
	<-asked
	key := <-shown
	waiting, err := s.client.Waiting(within(t))
	if err != nil || len(waiting) != 1 || waiting[0].Key != key || waiting[0].Facts.Hostname != "ship1.example.org" {
		t.Fatalf("%+v, %v", waiting, err)
	}
	if _, err := s.client.Node(within(t), "ship1"); fleet.KindOf(err) != fleet.Unknown {
		t.Error("it is a node before anybody approved it:", err)
	}
	s.told("ship1", message.LifecycleWaiting, key)

	// Nobody else's word counts, nor alice's about another key.
	other := waiting[0]
	other.Key = s.creds("vera", subjects.Viewer).Key
	if err := s.client.Approve(within(t), other); err != nil {
		t.Fatal(err)
	}
	s.creds("eve", subjects.Admin)
	if err := s.as("eve", subjects.Admin).Approve(within(t), waiting[0]); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		select {
		case err := <-done:
			t.Fatal("it joined by a stranger's approval:", err)
		case <-asked:
		}
	}
	if err := s.client.Approve(within(t), waiting[0]); err != nil {
		t.Fatal(err)
	}
	for joined := false; !joined; {
		select {
		case <-asked:
		case err := <-done:
			if joined = true; err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, err := s.client.Node(within(t), "ship1"); err != nil || status.Key != key {
		t.Error(status.Key, err)
	}
	if waiting, err := s.client.Waiting(within(t)); err != nil || len(waiting) != 0 {
		t.Errorf("%+v, %v", waiting, err)
	}
}

func TestNoHostTakesThePlaceOfOneThatWaits(t *testing.T) {
	s := running(t)
	token := s.token(approved, func(r *station.TokenRecord) { r.Uses = 2 })
	shown := make(chan string, 1)
	first := s.waits(func() (join.Joined, error) {
		return s.join(token, "ship1", func(o *join.Options) { o.OnWaiting = func(key string) { shown <- key } })
	})
	<-shown
	_, err := s.join(token, "ship1")
	s.refused("another host under the name", fleet.Conflict, "waits for its approval", err)
	second := s.waits(func() (join.Joined, error) {
		return s.join(token, "ship2", func(o *join.Options) { o.OnWaiting = func(key string) { shown <- key } })
	})
	<-shown
	_, err = s.join(token, "ship3")
	s.refused("more than may join", fleet.Busy, "wait for approval", err)
	if _, err := s.client.RemoveToken(within(t), token.ID()); err != nil {
		t.Fatal(err)
	}
	for _, done := range []<-chan error{first, second} {
		s.refused("a host whose token was removed", fleet.Unknown, "no token", <-done)
	}
}

func TestAJoinHelperDecides(t *testing.T) {
	var asked station.JoinCandidate
	var answer func() (station.JoinVerdict, error)
	s := running(t, func(c *station.Config) {
		c.JoinHelper = func(_ context.Context, j station.JoinCandidate) (station.JoinVerdict, error) {
			asked = j
			return answer()
		}
	})
	token := s.token(func(r *station.TokenRecord) { r.Labels = map[string]string{"role": "edge"} })
	answer = func() (station.JoinVerdict, error) { return station.JoinVerdict{Reason: "not in the inventory"}, nil }
	_, err := s.join(token, "ship1")
	s.refused("who the helper does not know", fleet.Refused, "not in the inventory", err)
	answer = func() (station.JoinVerdict, error) {
		return station.JoinVerdict{}, errors.New("the database is at 10.0.0.3")
	}
	_, err = s.join(token, "ship1")
	s.refused("a helper that fails", fleet.Unavailable, "its log says why", err)
	answer = func() (station.JoinVerdict, error) {
		return station.JoinVerdict{Allow: true, Labels: map[string]string{"not a label": "x"}}, nil
	}
	_, err = s.join(token, "ship1")
	s.refused("a helper that gives what is no label", fleet.Unavailable, "its log says why", err)
	answer = func() (station.JoinVerdict, error) {
		return station.JoinVerdict{Allow: true, Address: "the harbour"}, nil
	}
	_, err = s.join(token, "ship1")
	s.refused("a helper that gives what is no address", fleet.Unavailable, "its log says why", err)
	answer = func() (station.JoinVerdict, error) { return station.JoinVerdict{}, nil }
	_, err = s.join(token, "ship1")
	s.refused("a helper that does not say why", fleet.Refused, "it gives no reason", err)
	answer = func() (station.JoinVerdict, error) {
		return station.JoinVerdict{Allow: true, Labels: map[string]string{"rack": "7"}, Address: "192.0.2.9"}, nil
	}
	j, err := s.join(token, "ship1", func(o *join.Options) { o.Facts = fleet.Facts{Hostname: "h"} })
	if err != nil || j.Labels["rack"] != "7" || j.Labels["role"] != "edge" {
		t.Error(j, err)
	}
	if asked.Name != "ship1" || asked.Key != j.Key || asked.TokenBy != "alice" || asked.Token != token.ID() || asked.Facts.Hostname != "h" {
		t.Errorf("the helper was asked about %+v", asked)
	}
	if status, err := s.client.Node(within(t), "ship1"); err != nil || status.Address != "192.0.2.9" {
		t.Error(status.Address, err)
	}
}

func TestAStationWithoutKeysIsNotAsked(t *testing.T) {
	s := open(t)
	without := func(c *station.Config) { c.Issuer = nil }
	s.station("station-a", without)
	_, _, err := s.client.MakeToken(within(t), s.newRecord(), time.Hour)
	s.refused("a station without keys", fleet.Unavailable, "station.keys", err)
	if tokens, err := s.client.Tokens(within(t)); err != nil || len(tokens) != 0 {
		t.Error("a token that nobody has stays:", tokens, err)
	}
	stop := s.station("station-b")
	token := s.token(func(r *station.TokenRecord) { r.Uses = 8 })
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} { // some would reach the other
		if _, err := s.join(token, name); err != nil {
			t.Error(name, err)
		}
	}
	stop()
	_, err = s.join(token, "g")
	s.refused("a join without a station that can", fleet.Unavailable, "station.keys", err)
}

func TestATenantHasNoMoreNodesThanItMay(t *testing.T) {
	s := running(t)
	q := s.authority.Quota()
	q.Nodes = 2
	if err := s.authority.SetQuota(q); err != nil {
		t.Fatal(err)
	}
	s.pushTrust()
	token := s.token(func(r *station.TokenRecord) { r.Uses = station.MaxUses })
	joined := 0
	for i := 1; ; i++ { // the station may hear of the quota a moment later
		_, err := s.join(token, fmt.Sprintf("ship%d", i))
		if err != nil {
			s.refused("a node too many", fleet.Busy, "may have 2 nodes", err)
			break
		}
		joined++
	}
	if joined < 2 {
		t.Errorf("%d nodes joined", joined)
	}
	for i := 1; i <= joined-1; i++ {
		if _, err := s.client.RemoveNode(within(t), fmt.Sprintf("ship%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually("there is room again", func() bool { _, err := s.join(token, "late"); return err == nil })
}
