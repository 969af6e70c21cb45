package client_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/broker/tampertest"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

const often = 20 * time.Millisecond

func checkpointsOften(c *station.Config) { c.CheckpointEvery = often }

func checkpointsNever(c *station.Config) { c.CheckpointEvery = time.Hour }

// commands has a node run some, and waits until the audit has them with their
// answers; it returns where the audit ends then.
func (s *site) commands(node string, count int) uint64 {
	s.t.Helper()
	last := s.audited() + 2*uint64(count)
	for _, sent := range s.send(node, count) {
		s.answer(sent, message.Succeeded, node, nil)
	}
	eventually(s.t, "the audit has it", func() bool { return s.audited() >= last })
	return last
}

// audited is where the audit ends.
func (s *site) audited() uint64 {
	s.t.Helper()
	state, err := s.client.Conn().State(within(s.t), subjects.Audit)
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Last
}

func (s *site) signedUpTo(sequence uint64) {
	s.t.Helper()
	eventually(s.t, "all of the audit is signed", func() bool {
		v, err := s.client.VerifyAudit(within(s.t), client.VerifyOptions{})
		return err == nil && v.Head.To >= sequence && v.Uncovered == 0
	})
}

func (s *site) verify(o client.VerifyOptions) client.AuditVerdict {
	s.t.Helper()
	v, err := s.client.VerifyAudit(within(s.t), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// disk is what a malicious broker has: the files of a stopped one.
type disk struct {
	t              *testing.T
	store, account string
}

func (d disk) stream(name string) tampertest.Stream {
	return tampertest.Open(d.t, d.store, d.account, name)
}

// stopped ends station and broker.
func (s *site) stopped() {
	s.t.Helper()
	s.client.Close()
	s.stopStation()
	s.stop()
}

// started runs the broker on a copy of its files that somebody changed, and a
// station that only answers questions.
func (s *site) started(t *testing.T, change func(disk)) {
	t.Helper()
	store := filepath.Join(t.TempDir(), "broker")
	if err := os.CopyFS(store, os.DirFS(s.broker.StoreDir)); err != nil {
		t.Fatal(err)
	}
	change(disk{t, store, s.authority.TenantAccount()})
	config := s.broker
	defer func() { s.broker = config }()
	s.broker.StoreDir, s.broker.Port, s.conns = store, 0, map[string]*bus.Conn{}
	s.t = t
	s.start()
	s.runStation(checkpointsNever)
	s.client = s.open("alice")
}

// document is a message of a stream as it is stored.
func document(m message.Message, sequence uint64, at time.Time) tampertest.Record {
	r := tampertest.Record{Sequence: sequence, At: at, Subject: subjects.Checkpoint, Body: m.Body}
	for name, values := range m.Headers() {
		r.Set(name, values[0])
	}
	return r
}

// resigned is a stored checkpoint with some part changed, signed by somebody.
func (s *site) resigned(t *testing.T, r tampertest.Record, by string, change func(*message.Checkpoint)) tampertest.Record {
	t.Helper()
	var c message.Checkpoint
	if err := json.Unmarshal(r.Body, &c); err != nil {
		t.Fatal(err)
	}
	change(&c)
	m, err := message.SignCheckpoint(c, by, s.users[by])
	if err != nil {
		t.Fatal(err)
	}
	return document(m, r.Sequence, r.At)
}

// audit and chain change the messages of a stream.
func audit(f func([]tampertest.Record) []tampertest.Record) func(disk) {
	return func(d disk) { d.stream(subjects.Audit).Change(f) }
}

func chain(f func([]tampertest.Record) []tampertest.Record) func(disk) {
	return func(d disk) { d.stream(subjects.Checkpoints).Change(f) }
}

// one changes the message at a sequence.
func one(sequence uint64, f func(*tampertest.Record)) func(disk) {
	return audit(func(all []tampertest.Record) []tampertest.Record {
		f(&all[sequence-1])
		return all
	})
}

func TestWhatSomebodyDidToTheAuditIsFoundAtItsFirstSequence(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	for range 4 {
		last := s.commands("ship1", 10)
		s.stopStation()
		s.stopStation = s.runStation(checkpointsOften)
		s.signedUpTo(last)
		s.stopStation()
		s.stopStation = s.runStation(checkpointsNever)
	}
	whole := s.verify(client.VerifyOptions{})
	if len(whole.Faults) > 0 || whole.Covered != 80 || whole.Checkpoints != 4 || whole.Head.To != 80 || !slices.Equal(whole.Stations, []string{"station-a"}) {
		t.Fatalf("a history that nobody touched: %+v", whole)
	}
	s.users["mallory"] = stranger(t)
	s.stopped()

	var ends []uint64 // of what each checkpoint covers
	base := disk{t, s.broker.StoreDir, s.authority.TenantAccount()}
	for _, r := range base.stream(subjects.Checkpoints).Read() {
		var c message.Checkpoint
		if err := json.Unmarshal(r.Body, &c); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, c.To)
	}
	last := len(ends) - 1
	head := []client.Head{whole.Head}
	type records = []tampertest.Record
	for name, row := range map[string]struct {
		change   func(disk)
		heads    []client.Head
		sequence uint64 // the first bad one, 0 for none
		kind     string
		says     string
	}{
		"nothing":                   {change: func(disk) {}, heads: head},
		"an answer removed":         {audit(func(r records) records { return slices.Delete(r, 6, 7) }), nil, 7, client.FaultRemoved, "is gone"},
		"removed and closed up":     {audit(func(r records) records { return tampertest.Numbered(slices.Delete(r, 6, 7)) }), nil, 7, client.FaultRemoved, "in its place"},
		"many removed":              {audit(func(r records) records { return slices.Delete(r, 6, 12) }), nil, 7, client.FaultRemoved, "5 are not"},
		"the first ones removed":    {audit(func(r records) records { return slices.Delete(r, 0, 5) }), nil, 1, client.FaultRemoved, "is gone"},
		"the last ones removed":     {audit(func(r records) records { return r[:75] }), nil, 76, client.FaultCutOff, "ends at sequence 75"},
		"all removed":               {audit(func(records) records { return nil }), nil, 1, client.FaultCutOff, "ends at sequence 0"},
		"a body changed":            {one(9, func(r *tampertest.Record) { r.Body = []byte(`{"message":"other"}`) }), nil, 9, client.FaultChanged, "is not the message"},
		"a header changed":          {one(9, func(r *tampertest.Record) { r.Set(message.HeaderFrom, "mallory") }), nil, 9, client.FaultChanged, "is not the message"},
		"a header added":            {one(9, func(r *tampertest.Record) { r.Set("Fairlead-Note", "x") }), nil, 9, client.FaultChanged, "is not the message"},
		"an unsigned header added":  {one(9, func(r *tampertest.Record) { r.Set("X", "y") }), nil, 9, client.FaultChanged, "is not the message"},
		"a subject changed":         {one(9, func(r *tampertest.Record) { r.Subject = "ship2.command.reload.nginx" }), nil, 9, client.FaultChanged, "ship2.command.reload.nginx is not the message"},
		"a time changed":            {one(9, func(r *tampertest.Record) { r.At = r.At.Add(time.Nanosecond) }), nil, 9, client.FaultChanged, "is said to be of"},
		"the last message changed":  {one(80, func(r *tampertest.Record) { r.Body = append(r.Body, ' ') }), nil, 80, client.FaultChanged, "is not the message"},
		"all stored again at once":  {audit(func(r records) records { return later(r, time.Hour) }), nil, 1, client.FaultChanged, "is said to be of"},
		"a message inserted":        {audit(func(r records) records { return tampertest.Numbered(slices.Insert(r, 8, forged(r[8]))) }), nil, 9, client.FaultInserted, "was put before"},
		"a message put in as first": {audit(func(r records) records { return tampertest.Numbered(slices.Insert(r, 0, forged(r[0]))) }), nil, 1, client.FaultInserted, "was put before"},
		"two changed places":        {audit(func(r records) records { return swapped(r, 8, 9) }), nil, 9, client.FaultReordered, "at 10 now"},
		"two changed places with their times": {audit(func(r records) records { r[8].At, r[9].At = r[9].At, r[8].At; return swapped(r, 8, 9) }),
			nil, 9, client.FaultReordered, "at 10 now"},

		"the first checkpoint removed": {chain(func(r records) records { return r[1:] }), nil, ends[0] + 1, client.FaultChain, "before 2 are gone"},
		"a checkpoint removed":         {chain(func(r records) records { return slices.Delete(r, 1, 2) }), nil, ends[0] + 1, client.FaultChain, "between 1 and 3"},
		"the last checkpoint removed":  {chain(func(r records) records { return r[:last] }), head, ends[last-1] + 1, client.FaultCutOff, "the chain ends at"},
		"all checkpoints removed":      {chain(func(records) records { return nil }), head, 1, client.FaultCutOff, "the chain ends at 0"},
		"a checkpoint changed": {chain(func(r records) records {
			r[1].Body = []byte(strings.Replace(string(r[1].Body), `"number":2`, `"number":2 `, 1))
			return r
		}), nil, ends[0] + 1, client.FaultCheckpoint, "signature does not fit"},
		"a checkpoint replaced": {chain(func(r records) records {
			r[1] = s.resigned(t, r[1], "mallory", func(*message.Checkpoint) {})
			return r
		}), nil, ends[0] + 1, client.FaultChain, "between 1 and 3"},
		"the last checkpoint replaced": {chain(func(r records) records {
			r[last] = s.resigned(t, r[last], "mallory", func(*message.Checkpoint) {})
			return r
		}), nil, ends[last-1] + 1, client.FaultStranger, "nobody's who is trusted"},
		"the chain gone on by a stranger": {chain(func(r records) records {
			return append(r, s.follower(t, r[last], "mallory"))
		}), nil, 81, client.FaultStranger, "nobody's who is trusted"},
		"the chain gone on by an administrator": {chain(func(r records) records {
			return append(r, s.follower(t, r[last], "alice"))
		}), nil, 81, client.FaultStranger, "alice's, who is admin and no station"},
		"checkpoints changed places": {chain(func(r records) records { return swapped(r, 1, 2) }), nil, ends[0] + 1, client.FaultChain, "between"},

		"message and checkpoint changed together": {func(d disk) {
			one(9, func(r *tampertest.Record) { r.Body = nil })(d)
			chain(func(r records) records {
				r[0] = s.resigned(t, r[0], "mallory", func(*message.Checkpoint) {})
				return r
			})(d)
		}, nil, 1, client.FaultStranger, "nobody's who is trusted"},
		"audit and chain cut back together": {func(d disk) {
			audit(func(r records) records { return r[:ends[1]] })(d)
			chain(func(r records) records { return r[:2] })(d)
		}, head, ends[1] + 1, client.FaultCutOff, "the chain ends at 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s.started(t, func(d disk) {
				// What is gone from the audit is not copied again.
				d.stream(subjects.Commands).Write(nil)
				d.stream(subjects.Events).Write(nil)
				row.change(d)
			})
			v, err := s.client.VerifyAudit(within(t), client.VerifyOptions{Heads: row.heads})
			if err != nil {
				t.Fatal(err)
			}
			if row.kind == "" {
				if len(v.Faults) > 0 || v.Covered != 80 {
					t.Errorf("%+v", v)
				}
				return
			}
			if len(v.Faults) == 0 {
				t.Fatalf("it is not found: %+v", v)
			}
			if f := v.Faults[0]; f.Sequence != row.sequence || f.Kind != row.kind || !strings.Contains(f.Message, row.says) {
				t.Errorf("the first of %d faults is %+v, want %s at %d that says %q", len(v.Faults), f, row.kind, row.sequence, row.says)
			}
		})
	}
}

// later is everything as if it had been stored anew.
func later(all []tampertest.Record, by time.Duration) []tampertest.Record {
	for i := range all {
		all[i].At = all[i].At.Add(by)
	}
	return all
}

// forged is a message like another one.
func forged(like tampertest.Record) tampertest.Record {
	like.Body = []byte(`{"message":"forged"}`)
	return like
}

// swapped are two messages each in the other's place; the times stay.
func swapped(all []tampertest.Record, i, j int) []tampertest.Record {
	a, b := all[i], all[j]
	all[i].Subject, all[i].Header, all[i].Body = b.Subject, b.Header, b.Body
	all[j].Subject, all[j].Header, all[j].Body = a.Subject, a.Header, a.Body
	return all
}

// follower is a checkpoint without messages behind another one, by somebody.
func (s *site) follower(t *testing.T, r tampertest.Record, by string) tampertest.Record {
	t.Helper()
	headers := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(r.Header)), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			headers[name] = []string{value}
		}
	}
	_, m, err := message.OpenCheckpoint(message.Stored{Headers: headers, Body: r.Body})
	if err != nil {
		t.Fatal(err)
	}
	next := s.resigned(t, r, by, func(c *message.Checkpoint) {
		*c = message.Checkpoint{Number: c.Number + 1, Previous: message.CheckpointHash(m), From: c.To + 1, To: c.To, KeepSeconds: c.KeepSeconds, At: time.Now()}
	})
	next.Sequence++
	return next
}

// stranger is a station of another fleet.
func stranger(t *testing.T) *identity.Credentials {
	t.Helper()
	a, err := identity.Open(filepath.Join(t.TempDir(), "identity"), identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	user, err := a.User("station-a", subjects.Station)
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.LoadCreds(user.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAStationTellsThatTheAuditWasMadeAnew(t *testing.T) {
	s := open(t)
	s.stopStation()
	s.stopStation = s.runStation(checkpointsOften)
	s.nodes(nil, "ship1")
	s.signedUpTo(s.commands("ship1", 10))
	before := s.verify(client.VerifyOptions{}).Head
	s.stopped()
	s.started(t, func(d disk) {
		d.stream(subjects.Audit).Remove()
		d.stream(subjects.Commands).Remove()
		d.stream(subjects.Events).Change(func(all []tampertest.Record) []tampertest.Record { return all[:5] })
	})
	s.runStation(checkpointsOften)
	s.nodes(nil, "ship1")
	var v client.AuditVerdict
	eventually(t, "a station has signed that the audit ended", func() bool {
		v = s.verify(client.VerifyOptions{Heads: []client.Head{before}})
		return v.Head.Number > before.Number
	})
	s.signedUpTo(s.commands("ship1", 3))
	told := slices.ContainsFunc(v.Faults, func(f client.AuditFault) bool {
		return f.Kind == client.FaultCutOff && strings.Contains(f.Message, "was cut off or made anew")
	})
	if !told || v.Faults[0].Sequence != 1 {
		t.Errorf("%+v", v)
	}
	// What came after is good, and signed in the same chain.
	v = s.verify(client.VerifyOptions{})
	v = s.verify(client.VerifyOptions{Since: v.Head.At, Heads: []client.Head{before}})
	if len(v.Faults) > 0 || v.Head.Number <= before.Number || v.Covered == 0 {
		t.Errorf("since then: %+v", v)
	}
}

func TestAStationThatRunsTellsThatTheChainWasCutBack(t *testing.T) {
	s := open(t)
	s.stopStation()
	s.stopStation = s.runStation(checkpointsOften)
	s.nodes(nil, "ship1")
	s.signedUpTo(s.commands("ship1", 5))
	s.signedUpTo(s.commands("ship1", 5))
	before := s.verify(client.VerifyOptions{}).Head
	s.stop()
	d := disk{t, s.broker.StoreDir, s.authority.TenantAccount()}
	d.stream(subjects.Checkpoints).Change(func(all []tampertest.Record) []tampertest.Record { return all[:1] })
	s.start()
	eventually(t, "the client is back", s.client.Conn().Connected)
	eventually(t, "the node is back", s.conn("ship1").Connected)
	last := s.commands("ship1", 5)
	var v client.AuditVerdict
	eventually(t, "the station has signed again", func() bool {
		v = s.verify(client.VerifyOptions{}) // by somebody who never looked before
		return v.Head.To >= last
	})
	if v.Head.Number <= before.Number {
		t.Errorf("the station began again at %d, and had signed %d", v.Head.Number, before.Number)
	}
	if len(v.Faults) == 0 || v.Faults[0].Kind != client.FaultChain || !strings.Contains(v.Faults[0].Message, "is gone") {
		t.Errorf("%+v", v)
	}
}

func TestWhatAStationSignedBeforeItWasRevokedStands(t *testing.T) {
	s := open(t)
	s.stopStation()
	stop := s.runStation(checkpointsOften)
	s.nodes(nil, "ship1")
	s.signedUpTo(s.commands("ship1", 5))
	stop()
	gone := s.users["station-a"]
	s.creds("station-b", subjects.Station)
	if _, err := s.authority.Distrust(message.RevokedKey{Key: gone.Key, Name: "station-a", Role: subjects.Station}); err != nil {
		t.Fatal(err)
	}
	s.runStation(func(c *station.Config) { c.Credentials, c.CheckpointEvery = s.users["station-b"], often })
	s.client.Close()
	s.client = s.open("bob") // who has asked nobody yet
	s.signedUpTo(s.commands("ship1", 5))
	v := s.verify(client.VerifyOptions{})
	if len(v.Faults) > 0 || v.Covered != 20 || !slices.Equal(v.Stations, []string{"station-a", "station-b"}) {
		t.Errorf("%+v", v)
	}
	// What it signs now counts for nothing, though the broker lets it in.
	c, err := bus.Connect(t.Context(), bus.Options{URL: s.url, Credentials: gone})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	end, err := c.End(within(t), subjects.Checkpoints, subjects.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.SignCheckpoint(message.Checkpoint{Number: v.Head.Number + 1, Previous: v.Head.Hash, From: v.Head.To + 1, To: v.Head.To, At: time.Now()}, "station-a", gone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(within(t), subjects.Checkpoint, m, end.Sequence); err != nil {
		t.Fatal(err)
	}
	s.signedUpTo(s.commands("ship1", 1))
	v = s.verify(client.VerifyOptions{})
	if len(v.Faults) != 1 || v.Faults[0].Kind != client.FaultStranger || !strings.Contains(v.Faults[0].Message, "station-a's, who was a station until") || v.Covered != 22 {
		t.Errorf("%+v", v)
	}
}

func TestWithoutACheckpointNothingIsSaidToBeGood(t *testing.T) {
	s := open(t)
	s.nodes(nil, "ship1")
	s.send("ship1", 1)
	_, err := s.client.VerifyAudit(within(t), client.VerifyOptions{})
	kind(t, err, fleet.Unknown)
}

func TestAHeadIsReadAsItIsWritten(t *testing.T) {
	h := client.Head{Number: 57, Hash: strings.Repeat("0f", 32)}
	if got, err := client.ParseHead(h.String()); err != nil || got != h {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "57", "57:", "57:0f", "x:" + h.Hash, h.Hash, "-1:" + h.Hash, "57:" + h.Hash + "0f"} {
		if _, err := client.ParseHead(bad); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q was taken: %v", bad, err)
		}
	}
}
