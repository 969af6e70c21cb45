package station_test

import (
	"encoding/json"
	"testing"
	"time"

	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// Who may have JetStream answer something has it say it on any subject, often
// enough for a bucket to forget all that was there.
func TestWhatNobodySignedIsReplacedByWhatWasThere(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
	s.nodes(map[string]string{"role": "edge"}, "ship1")
	s.apply(host("site", "", "x"))
	before, _ := s.desired("ship1")
	flood := func(bucket, key string) {
		for range 70 { // and the longest history is 64
			s.put("alice", subjects.Admin, bucket, key, subjects.Subject{}, []byte("rubbish"), nil, nil)
		}
	}
	flood(subjects.Nodes, "ship1")
	flood(subjects.Fleet, "VirtualHost.site")
	conn := s.conn("alice", subjects.Admin)
	stands := func(bucket, key string, as subjects.Subject, by string) {
		t.Helper()
		eventually(t, key+" is there again", func() bool {
			e, err := conn.Get(within(t), bucket, key)
			if err != nil {
				t.Fatal(err)
			}
			m, err := e.Message(as)
			return err == nil && m.CheckSignature() == nil && m.Key == s.users[by].Key
		})
	}
	stands(subjects.Nodes, "ship1", message.RegisterSubject("ship1"), "station-a")
	stands(subjects.Fleet, "VirtualHost.site", message.ResourceSubject("VirtualHost", "site"), "alice")
	stop()
	s.station(nil)
	if d := s.node("ship1"); d.Key != s.users["ship1"].Key || d.Labels["role"] != "edge" {
		t.Errorf("the next station knows %+v", d)
	}
	s.compiled(0)
	if d, _ := s.desired("ship1"); d.Revision != before.Revision || d.Digest != before.Digest {
		t.Errorf("the next station has changed ship1 to %+v", d)
	}
}

// A station may be the one that does not know yet whom to believe.
func TestWhatSomebodySignedIsNotReplaced(t *testing.T) {
	s := open(t)
	s.station(nil)
	s.nodes(nil, "ship1", "ship2")
	write := func(name string, signer string) uint64 {
		body, err := json.Marshal(station.NodeRecord{Name: name, Key: s.creds(name, subjects.Node).Key, Since: time.Now(), Labels: map[string]string{"by": signer}})
		if err != nil {
			t.Fatal(err)
		}
		return s.put("alice", subjects.Admin, subjects.Nodes, name, message.RegisterSubject(name), body, s.users[signer], nil)
	}
	theirs := write("ship1", untrusted)
	write("ship2", "") // which is replaced after the one before it was looked at
	conn := s.conn("alice", subjects.Admin)
	eventually(t, "what nobody signed is replaced", func() bool {
		e, err := conn.Get(within(t), subjects.Nodes, "ship2")
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.Message(message.RegisterSubject("ship2"))
		return err == nil && m.CheckSignature() == nil
	})
	if e, err := conn.Get(within(t), subjects.Nodes, "ship1"); err != nil || e.Sequence != theirs {
		t.Errorf("entry %d stands there, and %d was written: %v", e.Sequence, theirs, err)
	}
}

// Who left does not take the sites along, but nobody may say again what they said.
func TestWhatAPersonWroteWhoLeftIsNotWrittenAgain(t *testing.T) {
	r := ruled(t)
	st, _ := r.run(nil)
	r.nodes(nil, "ship1")
	r.apply(host("site", "", "x"))
	digest := r.digest("ship1")
	r.tell(revoked(r.users["alice"], time.Now()), st)
	sequence := r.put("alice", subjects.Admin, subjects.Fleet, "VirtualHost.site", subjects.Subject{}, []byte("rubbish"), nil, nil)
	r.put("alice", subjects.Admin, subjects.Nodes, "ship1", subjects.Subject{}, []byte("rubbish"), nil, nil)
	conn := r.conn("alice", subjects.Admin)
	eventually(t, "the register is whole again", func() bool {
		e, err := conn.Get(within(t), subjects.Nodes, "ship1")
		return err == nil && len(e.Headers[message.HeaderSignature]) > 0
	})
	if e, err := conn.Get(within(t), subjects.Fleet, "VirtualHost.site"); err != nil || e.Sequence != sequence {
		t.Errorf("entry %d stands there, and %d was written: %v", e.Sequence, sequence, err)
	}
	if got := r.digest("ship1"); got != digest {
		t.Error("ship1 is to be another")
	}
}
