package station_test

import (
	"encoding/json"
	"testing"
	"time"

	"fairlead/pkg/bus"
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
func TestWhatSomebodySignedIsNotReplacedAtOnce(t *testing.T) {
	s := open(t)
	stop := s.station(nil)
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
	s.apply(host("site", "", "x"))
	s.resource(host("site", "", "another"), s.users[untrusted])
	stop()
	s.station(func(c *station.Config) { c.StrangersAfter = time.Millisecond })
	for key, bucket := range map[string]string{"ship1": subjects.Nodes, "VirtualHost.site": subjects.Fleet} {
		eventually(t, key+" is again what it was", func() bool {
			e, err := conn.Get(within(t), bucket, key)
			if err != nil {
				t.Fatal(err)
			}
			return e.Headers[message.HeaderKey][0] != s.users[untrusted].Key
		})
	}
	if d := s.node("ship1"); d.Labels["by"] != "" {
		t.Errorf("ship1 is %+v", d)
	}
}

// Who left does not take the sites along, and nobody can say again what they said
// but a station, of what stood.
func TestWhatAPersonWroteWhoLeftIsWrittenAgain(t *testing.T) {
	r := ruled(t)
	st, stop := r.run(nil)
	r.nodes(nil, "ship1")
	olga, key, subject := r.users["olga"], "VirtualHost.site", message.ResourceSubject("VirtualHost", "site")
	r.compiled(r.resource(host("site", "", "x"), olga))
	digest := r.digest("ship1")
	r.tell(revoked(olga, time.Now()), st)
	conn := r.conn("alice", subjects.Admin)
	again := func(rubbish func() uint64) (m message.Message) {
		t.Helper()
		sequence := rubbish()
		eventually(t, "the site is there again", func() bool {
			e, err := conn.Get(within(t), subjects.Fleet, key)
			if err != nil {
				t.Fatal(err)
			}
			m, err = e.Message(subject)
			return e.Sequence > sequence && err == nil && m.CheckSignature() == nil && m.Key == olga.Key
		})
		return m
	}
	flood := func() (last uint64) {
		for range 70 {
			last = r.put("alice", subjects.Admin, subjects.Fleet, key, subjects.Subject{}, []byte("rubbish"), nil, nil)
		}
		return last
	}
	good := again(flood)
	stop()
	st, _ = r.run(func(c *station.Config) { c.StrangersAfter = time.Millisecond })
	r.believes(st, r.set.Version)
	r.compiled(0)
	if got := r.digest("ship1"); got != digest {
		t.Error("by the next station ship1 is to be another")
	}
	again(flood)

	// The word of nobody else counts, and a station's for nothing else.
	body, err := json.Marshal(host("site", "", "another"))
	if err != nil {
		t.Fatal(err)
	}
	later := message.Message{Subject: subject, ID: message.NewID(), From: "olga", Body: body}
	if err := later.Sign(olga); err != nil {
		t.Fatal(err)
	}
	byAlice, err := later.VouchFor(time.Now().Add(-time.Hour), "alice", r.users["alice"])
	if err != nil {
		t.Fatal(err)
	}
	ofAnother := later
	ofAnother.Vouch = good.Vouch
	for _, m := range []message.Message{byAlice, ofAnother} {
		if back := again(func() uint64 {
			sequence, err := conn.Put(within(t), subjects.Fleet, bus.Change{Key: key, Document: m, Expect: bus.Any})
			if err != nil {
				t.Fatal(err)
			}
			return sequence
		}); back.Signature != good.Signature {
			t.Error("another document is there")
		}
	}
	r.compiled(0)
	if got := r.digest("ship1"); got != digest {
		t.Error("what she wrote afterwards is believed")
	}
}
