package station_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

const often = 10 * time.Millisecond

// signed waits until stations have signed all that commands and events hold,
// and returns what comparing shows, which must be good.
func (s *site) signed() (v client.AuditVerdict) {
	s.t.Helper()
	s.copied()
	eventually(s.t, "all of the audit is signed", func() (all bool) {
		var err error
		v, err = s.client.VerifyAudit(within(s.t), client.VerifyOptions{})
		return err == nil && v.Uncovered == 0
	})
	if len(v.Faults) > 0 {
		s.t.Errorf("%+v", v)
	}
	return v
}

func TestTwoStationsSignOneChain(t *testing.T) {
	s := open(t)
	for _, name := range []string{"station-a", "station-b"} {
		s.station(func(c *station.Config) { c.Credentials, c.CheckpointEvery = s.users[name], often })
	}
	s.nodes(nil, "ship1")
	names := map[string]bool{}
	eventually(t, "both have signed", func() bool {
		s.end(s.send("ship1", "reload", 5, 0, nil)...)
		v := s.signed()
		for _, name := range v.Stations {
			names[name] = true
		}
		return len(names) == 2
	})
	if v := s.signed(); v.Covered != v.Last || v.Before > 0 {
		t.Errorf("%+v", v)
	}
}

func TestAnotherStationGoesOnWithTheChain(t *testing.T) {
	s := open(t)
	stop := s.station(func(c *station.Config) { c.CheckpointEvery = often })
	s.nodes(nil, "ship1")
	s.end(s.send("ship1", "reload", 10, 0, nil)...)
	first := s.signed()
	stop()
	s.end(s.send("ship1", "reload", 10, 0, nil)...) // nobody signs
	s.station(func(c *station.Config) { c.Credentials, c.CheckpointEvery = s.users["station-b"], often })
	second := s.signed()
	if second.Covered != 40 || second.Head.Number <= first.Head.Number {
		t.Errorf("at first %+v, then %+v", first, second)
	}
}

func TestAHistoryWithoutCheckpointsIsSignedFromItsBegin(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	sent := s.send("ship1", "reload", 1500, 0, nil)
	s.end(sent...)
	s.station(func(c *station.Config) { c.CheckpointEvery = often })
	if v := s.signed(); v.Covered != 3000 || v.Checkpoints < 3 || v.Checkpoints > 30 {
		t.Errorf("%+v", v)
	}
}

// Messages that went by age are told apart from those that somebody removed.
func TestWhatWentByAgeIsNoFault(t *testing.T) {
	s := open(t)
	storage := subjects.Settings{LogsBytes: 1 << 30, AuditAge: time.Second}
	s.station(func(c *station.Config) { c.CheckpointEvery, c.Storage = often, storage })
	s.nodes(nil, "ship1")
	s.end(s.send("ship1", "reload", 10, 0, nil)...)
	head := s.signed().Head
	eventually(t, "the audit has forgotten", func() bool {
		state, err := s.client.Conn().State(within(t), subjects.Audit)
		return err == nil && state.Messages == 0
	})
	s.end(s.send("ship1", "reload", 10, 0, nil)...)
	v, err := s.client.VerifyAudit(within(t), client.VerifyOptions{Heads: []client.Head{head}})
	if err != nil || len(v.Faults) > 0 || v.AgedOut < 20 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAChainIsNotForgottenForWantOfNews(t *testing.T) {
	s := open(t)
	storage := subjects.Settings{LogsBytes: 1 << 30, AuditAge: time.Second}
	s.station(func(c *station.Config) { c.CheckpointEvery, c.Storage = often, storage })
	s.nodes(nil, "ship1")
	s.end(s.send("ship1", "reload", 1, 0, nil)...)
	first := s.signed()
	eventually(t, "the chain goes on with nothing to sign", func() bool {
		v, err := s.client.VerifyAudit(within(t), client.VerifyOptions{Heads: []client.Head{first.Head}})
		if err != nil || len(v.Faults) > 0 {
			t.Fatalf("%+v, %v", v, err)
		}
		return v.Head.Number > first.Head.Number+1 && v.Head.To == first.Head.To
	})
}

func TestAStationThatHearsNothingNewAsksNothing(t *testing.T) {
	s := open(t)
	s.station(func(c *station.Config) { c.CheckpointEvery = 2 * often })
	s.nodes(nil, "ship1")
	var looks atomic.Int64
	sub, err := s.conn("alice", subjects.Admin).Listen("$JS.API.STREAM.MSG.GET."+subjects.Checkpoints, func(string, []byte) { looks.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Stop()
	s.end(s.send("ship1", "reload", 1, 0, nil)...)
	eventually(t, "the station looks", func() bool { return looks.Load() > 0 })
	s.signed()
	// Reports are no part of the audit. A thousand take time for many looks; a
	// station that hears nothing new takes one of thirty.
	calm := func() int64 {
		for i := range 1000 {
			s.health("ship1", float64(1000+i))
		}
		eventually(t, "the station has heard them", func() bool { return len(s.node("ship1").Health) > 0 })
		return looks.Load()
	}
	calm()
	begin := time.Now()
	before, after := calm(), calm()
	if most := 2 + int64(time.Since(begin)/(10*2*often)); after-before > most {
		t.Errorf("%d looks while nothing was new, more than %d", after-before, most)
	}
}

func TestACheckpointOfAStrangerIsPassedOver(t *testing.T) {
	s := open(t)
	stop := s.station(func(c *station.Config) { c.CheckpointEvery = often })
	s.nodes(nil, "ship1")
	s.end(s.send("ship1", "reload", 5, 0, nil)...)
	good := s.signed()
	stop()
	// Somebody who got hold of a station's connection, and not of its key.
	c := s.conn("station-a", subjects.Station)
	end, err := c.End(within(t), subjects.Checkpoints, subjects.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.SignCheckpoint(message.Checkpoint{Number: good.Head.Number + 1, Previous: good.Head.Hash, From: 11, To: 10, At: time.Now()}, "station-a", s.users[untrusted])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(within(t), subjects.Checkpoint, m, end.Sequence); err != nil {
		t.Fatal(err)
	}
	s.station(func(c *station.Config) { c.CheckpointEvery = often })
	s.end(s.send("ship1", "reload", 5, 0, nil)...)
	s.copied()
	var v client.AuditVerdict
	eventually(t, "the chain goes on", func() bool {
		v, err = s.client.VerifyAudit(within(t), client.VerifyOptions{Heads: []client.Head{good.Head}})
		return err == nil && v.Head.To == 20
	})
	if len(v.Faults) != 1 || v.Faults[0].Kind != client.FaultStranger || v.Faults[0].Sequence != 11 || v.Covered != 20 {
		t.Errorf("%+v", v)
	}
	if fmt.Sprint(v.Stations) != "[station-a]" {
		t.Error(v.Stations)
	}
}
