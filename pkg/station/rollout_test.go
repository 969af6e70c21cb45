package station_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/rollout"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// quick has a station drive rollouts without long pauses.
func quick(c *station.Config) {
	c.RolloutEvery, c.GateEvery = 20*time.Millisecond, 20*time.Millisecond
}

// strategy is one with waves and what else a test wants.
func strategy(t *testing.T, waves string, change func(*rollout.Strategy)) (s rollout.Strategy) {
	t.Helper()
	for one := range strings.SplitSeq(waves, ",") {
		a, err := rollout.ParseAmount(one)
		if err != nil {
			t.Fatal(err)
		}
		s.Waves = append(s.Waves, a)
	}
	if change != nil {
		change(&s)
	}
	return s
}

// crew are nodes that take what they should be when a test has them look, and may
// fail.
type crew struct {
	*site
	names []string
	has   map[string]uint64
	fails map[string]string
}

// crewOf registers nodes that are there and serve "old".
func (s *site) crewOf(names ...string) *crew {
	s.t.Helper()
	c := &crew{site: s, names: names, has: make(map[string]uint64), fails: make(map[string]string)}
	for _, name := range names {
		s.nodes(map[string]string{"name": name}, name)
		s.health(name, 3600)
	}
	s.apply(host("site", "", "old"))
	c.until("all serve the old one", func() bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			n := s.node(name)
			return n.Sync != station.InSync || n.Presence != station.Online
		})
	})
	return c
}

// look has the nodes take what they should be.
func (c *crew) look() {
	c.t.Helper()
	for _, name := range c.names {
		d, ok := c.desired(name)
		if !ok || d.Revision == c.has[name] {
			continue
		}
		r := handlers.Reported{ObservedRevision: d.Revision, Revision: d.Revision, Digest: d.Digest, RunningDigest: d.Digest, Status: handlers.StatusApplied}
		if why := c.fails[name]; why != "" {
			r = handlers.Reported{ObservedRevision: c.has[name], Revision: d.Revision, Status: handlers.StatusFailed, Message: why}
		}
		c.has[name] = d.Revision
		c.report(name, r)
	}
}

// until has the nodes look until something holds.
func (c *crew) until(what string, holds func() bool) {
	c.t.Helper()
	eventually(c.t, what, func() bool {
		c.look()
		return holds()
	})
}

// roll begins a rollout that has the site answer a text, as somebody.
func (c *crew) roll(by *client.Client, text string, how rollout.Strategy) string {
	c.t.Helper()
	plan, err := by.Plan(within(c.t), manifest.Of(host("site", "", text)), false)
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := by.StartRollout(within(c.t), plan, how, "")
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (c *crew) rollout(id string) station.RolloutStatus {
	c.t.Helper()
	st, _, err := c.client.Rollout(within(c.t), id)
	if err != nil && fleet.KindOf(err) != fleet.Unknown && fleet.KindOf(err) != fleet.Unavailable {
		c.t.Fatal(err)
	}
	return st
}

// becomes waits for a phase, with a reason that holds some words.
func (c *crew) becomes(id string, phase rollout.Phase, reason string) (st station.RolloutStatus) {
	c.t.Helper()
	defer func() {
		if c.t.Failed() {
			c.t.Logf("it is %s: %s, with %v and %v", st.Progress, st.State.Reason, st.Nodes, st.State.Gates)
		}
	}()
	c.until(fmt.Sprintf("it is %s: %s", phase, reason), func() bool {
		st = c.rollout(id)
		is := st.State.Phase == phase && strings.Contains(st.State.Reason, reason)
		if st.State.Phase.Ended() && !is {
			c.t.Fatalf("it is %s: %s", st.Progress, st.State.Reason)
		}
		return is
	})
	return st
}

func (c *crew) order(id string, o rollout.Order) {
	c.t.Helper()
	if _, err := c.client.Steer(within(c.t), id, o); err != nil {
		c.t.Fatal(err)
	}
}

// states are all that were written of a rollout, in order.
func (c *crew) states(id string) (all []rollout.State) {
	c.t.Helper()
	subject := subjects.KeySubject(subjects.Rollouts, subjects.RolloutKey(id, subjects.RolloutState))
	for _, i := range c.items(subjects.BucketStream(subjects.Rollouts), subject) {
		s, err := rollout.DecodeState(i.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// line is a connection to the broker that a test can hold: what is said meanwhile
// arrives when it is let go.
type line struct {
	url  string
	mu   sync.Mutex
	held bool
	said bytes.Buffer // while it was held, to the broker
	let  *sync.Cond
	cut  func() // ends it for good
}

func (s *site) line() *line {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	l := &line{url: "nats://" + listener.Addr().String()}
	l.let = sync.NewCond(&l.mu)
	broker := strings.TrimPrefix(s.url, "nats://")
	var ends []net.Conn
	l.cut = func() {
		listener.Close()
		l.hold(false)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range ends {
			c.Close()
		}
	}
	s.t.Cleanup(l.cut)
	go func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", broker)
			if err != nil {
				down.Close()
				return
			}
			l.mu.Lock()
			ends = append(ends, down, up)
			l.mu.Unlock()
			go l.pass(down, up, true)
			go l.pass(up, down, false)
		}
	}()
	return l
}

func (l *line) pass(from, to net.Conn, up bool) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		if l.held && up {
			l.said.Write(buffer[:n])
		}
		for l.held && err == nil {
			l.let.Wait()
		}
		l.mu.Unlock()
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (l *line) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	l.let.Broadcast()
}

// holds reports whether a text was said since the line is held.
func (l *line) holds(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.said.String(), text)
}

func TestAStationThatStallsIsTakenOverFromAndItsWriteIsRefused(t *testing.T) {
	s := open(t)
	l := s.line()
	s.station(func(c *station.Config) {
		quick(c)
		c.URL, c.LeaseEvery = l.url, 30*time.Second // it takes itself for the driver all the time
	})
	c := s.crewOf("n1", "n2", "n3")
	id := c.roll(s.client, "new", strategy(t, "1,2,100%", func(s *rollout.Strategy) { s.Bake = rollout.Duration(400 * time.Millisecond) }))
	c.until("the first wave bakes", func() bool { return c.rollout(id).State.Reason != "" && c.rollout(id).State.Counts.Applied == 1 })
	l.hold(true)
	// It decides on the second wave, and its word is on the way.
	eventually(t, "the first station releases the second wave", func() bool { return l.holds("$KV.rollouts." + id + ".state") })
	if last := c.states(id); last[len(last)-1].Wave != 1 {
		t.Fatal("the word of the first station has arrived")
	}
	s.station(func(c *station.Config) {
		quick(c)
		c.Credentials, c.LeaseEvery = s.users["station-b"], 50*time.Millisecond
	})
	c.until("the second station drives", func() bool {
		all := c.states(id)
		last := all[len(all)-1]
		return last.By == "station-b" && last.Wave >= 2
	})
	l.hold(false)
	c.becomes(id, rollout.Complete, "")
	for i, one := range c.states(id) {
		if one.Number != uint64(i+1) || i > 0 && one.Epoch < c.states(id)[i-1].Epoch || one.Epoch > 1 != (one.By == "station-b") {
			t.Errorf("the states are %+v", c.states(id))
			break
		}
	}
	for _, name := range c.names {
		if r := s.revision(name); r != 2 {
			t.Errorf("%s is at revision %d after one change", name, r)
		}
	}
}

func TestAStationThatEndsGivesTheLeaseBackAndOneThatIsKilledLosesIt(t *testing.T) {
	s := open(t)
	l := s.line()
	s.station(func(c *station.Config) {
		quick(c)
		c.URL, c.LeaseEvery = l.url, 100*time.Millisecond
	})
	c := s.crewOf("n1", "n2", "n3")
	id := c.roll(s.client, "new", strategy(t, "1,2,100%", func(s *rollout.Strategy) { s.Gates = []string{rollout.GateApproval} }))
	c.becomes(id, rollout.Waiting, "for a person")
	stop := s.station(func(c *station.Config) {
		quick(c)
		c.Credentials, c.LeaseEvery = s.users["station-b"], 100*time.Millisecond
	})
	driver := func() string { all := c.states(id); return all[len(all)-1].By }
	if by := driver(); by != "station-a" {
		t.Errorf("%s drives, and the first one holds the lease", by)
	}
	l.cut() // it is as good as dead
	c.until("the second station drives", func() bool { return driver() == "station-b" })
	c.order(id, rollout.Order{Do: rollout.OrderApprove, Wave: 1})
	c.until("the second wave is through", func() bool { st := c.rollout(id).State; return st.Phase == rollout.Waiting && st.Wave == 2 })

	s.station(func(c *station.Config) { // it would wait for an hour and a half
		quick(c)
		c.LeaseEvery = 30 * time.Minute
	})
	stop()
	c.until("the third station drives", func() bool { all := c.states(id); return all[len(all)-1].Epoch == 3 })
	c.order(id, rollout.Order{Do: rollout.OrderApprove, Wave: 2})
	c.becomes(id, rollout.Complete, "")
}

func TestWhatSomebodyWritesAgainOrForgesChangesNoRollout(t *testing.T) {
	s := open(t)
	end := s.station(quick)
	c := s.crewOf("n1", "n2", "n3")
	c.fails["n1"], c.fails["n2"], c.fails["n3"] = "broken", "broken", "broken"
	how := strategy(t, "2,100%", func(s *rollout.Strategy) { s.OnFailure = rollout.OnFailurePause })
	id := c.roll(s.client, "bad", how)
	c.becomes(id, rollout.Paused, "failed: broken")
	clear(c.fails)
	c.order(id, rollout.Order{Do: rollout.OrderAbort})
	before := c.becomes(id, rollout.Aborted, "")
	revisions := func() (all []uint64) {
		for _, name := range c.names {
			all = append(all, s.revision(name))
		}
		return all
	}
	at := revisions()

	state, alice := subjects.RolloutKey(id, subjects.RolloutState), s.users["alice"]
	bucket := s.items(subjects.BucketStream(subjects.Rollouts), "")
	again := func(want func(key string, i bus.Item) bool) {
		t.Helper()
		found := false
		for _, i := range bucket {
			key := subjects.KeyOfSubject(subjects.Rollouts, i.Subject)
			if !want(key, i) {
				continue
			}
			found = true
			subject := subjects.RolloutSubject(id, key[strings.LastIndex(key, ".")+1:])
			m, faults := message.DecodeAs(subject, i.Headers, i.Body)
			if faults != nil {
				t.Fatal(faults)
			}
			if _, err := s.conn("alice", subjects.Admin).Put(within(t), subjects.Rollouts, bus.Change{Key: key, Document: m, Expect: bus.Any}); err != nil {
				t.Fatal(err)
			}
		}
		if !found {
			t.Fatal("there is nothing to write again")
		}
	}
	again(func(key string, i bus.Item) bool { // a station's own word, as it was
		s, err := rollout.DecodeState(i.Body)
		return key == state && err == nil && s.Overlays() && s.Released == 2
	})
	again(func(key string, i bus.Item) bool { return key == subjects.RolloutKey(id, subjects.RolloutOrder) })
	forge := func(what string, body any, signer *identity.Credentials) {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		s.put("alice", subjects.Admin, subjects.Rollouts, subjects.RolloutKey(id, what), subjects.RolloutSubject(id, what), text, signer, nil)
	}
	over := before.State
	over.Phase, over.Number = rollout.Running, 999
	for _, signer := range []*identity.Credentials{nil, alice, s.users["olga"], s.creds("n1", subjects.Node)} {
		forge(subjects.RolloutState, over, signer)
	}
	plan := rollout.Plan{Strategy: before.Strategy, Steps: []rollout.Step{{Upto: 3}}, Nodes: c.names, Changes: before.Changes}
	forge(subjects.RolloutPlan, plan, alice)

	for _, when := range []string{"a station that runs", "one that starts"} {
		if when == "one that starts" {
			end()
			s.station(quick)
		}
		next := c.roll(s.client, when, strategy(t, "100%", nil))
		c.becomes(next, rollout.Complete, "")
		st := c.rollout(id)
		if st.State.Phase != rollout.Aborted || st.Size != 3 || len(st.Steps) != 2 {
			t.Errorf("%s believes %+v", when, st)
		}
		for i, r := range revisions() {
			if at[i]++; r != at[i] {
				t.Errorf("%s has had %s go to revision %d, not %d", when, c.names[i], r, at[i])
			}
		}
	}
}

// What is read is judged by the trust set, and so read anew with each: the old states
// of a rollout are nobody's forgeries then.
func TestReadingRolloutsAnewAccusesNobody(t *testing.T) {
	r := ruled(t)
	said := make(lines, 10000)
	st, _ := r.run(func(c *station.Config) {
		quick(c)
		c.Logger = slog.New(slog.NewTextHandler(said, nil))
	})
	c := r.crewOf("n1", "n2")
	how := strategy(t, "1,100%", nil)
	c.becomes(c.roll(r.client, "new", how), rollout.Complete, "")
	r.tell(nil, st)
	c.becomes(c.roll(r.client, "newer", how), rollout.Complete, "") // whose entries come behind all that was read again
	for len(said) > 0 {
		if text := <-said; strings.Contains(text, "ignored an entry about a rollout") {
			t.Errorf("the station said %s", text)
		}
	}
}

func TestTheDocumentsOfARolloutAreNoResources(t *testing.T) {
	s := open(t)
	s.station(quick)
	c := s.crewOf("n1", "n2")
	id := c.roll(s.client, "new", strategy(t, "1,100%", func(s *rollout.Strategy) { s.Gates = []string{rollout.GateApproval} }))
	c.becomes(id, rollout.Waiting, "")
	// Who may read streams can have the broker put what they hold on other subjects.
	for _, i := range s.items(subjects.BucketStream(subjects.Rollouts), subjects.KeySubject(subjects.Rollouts, id+".doc.>")) {
		subject := message.ResourceSubject("VirtualHost", "site")
		m, _ := message.DecodeAs(subject, i.Headers, i.Body)
		if _, err := s.conn("alice", subjects.Admin).Put(within(t), subjects.Fleet, bus.Change{Key: "VirtualHost.site", Document: m, Expect: bus.Any}); err != nil {
			t.Fatal(err)
		}
	}
	// The station puts back what was there, and the rollout goes on.
	eventually(t, "the resource is there again", func() bool {
		all, err := s.client.Resources(within(t), "VirtualHost", "site")
		return err == nil && len(all) == 1 && all[0].By == "alice"
	})
	c.order(id, rollout.Order{Do: rollout.OrderApprove})
	c.becomes(id, rollout.Complete, "")
}

func TestOnlyWhoMayWriteTheResourcesBeginsARollout(t *testing.T) {
	s := open(t)
	s.station(quick)
	c := s.crewOf("n1")
	as := func(name string) *client.Client {
		t.Helper()
		cl, err := client.Open(within(t), client.Options{URL: s.url, Credentials: s.users[name]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	c.becomes(c.roll(as("olga"), "by olga", strategy(t, "100%", nil)), rollout.Complete, "")

	raw, err := as("olga").Plan(within(t), manifest.Of(file("raw", "# x\n")), false)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := as("olga").StartRollout(within(t), raw, strategy(t, "100%", nil), "")
	if err != nil {
		t.Fatal(err) // the broker cannot tell: the station can
	}
	c.becomes(c.roll(s.client, "after that", strategy(t, "100%", nil)), rollout.Complete, "")
	if _, _, err := s.client.Rollout(within(t), refused); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("an operator rolls raw configuration out: %v", err)
	}
	plan, err := as("vera").Plan(within(t), manifest.Of(host("site", "", "by vera")), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := as("vera").StartRollout(within(t), plan, strategy(t, "100%", nil), ""); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("a viewer begins a rollout: %v", err)
	}
	if _, err := as("vera").Steer(within(t), refused, rollout.Order{Do: rollout.OrderAbort}); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("a viewer gives an order: %v", err)
	}
}

func TestGatesAreAskedAndWhatCannotBeAskedIsNotPassed(t *testing.T) {
	var mu sync.Mutex
	answers := map[string]string{}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		query := r.URL.Query().Get("query")
		asked = append(asked, r.Method+" "+r.URL.Path+" "+query)
		_, _ = io.WriteString(w, answers[query])
	}))
	defer server.Close()
	programs := map[string]station.GateAnswer{}
	var question station.GateQuestion
	s := open(t)
	s.station(func(c *station.Config) {
		quick(c)
		c.GateProgram = func(_ context.Context, name string, q []byte) (station.GateAnswer, error) {
			mu.Lock()
			defer mu.Unlock()
			return programs[name], json.Unmarshal(q, &question)
		}
	})
	c := s.crewOf("n1", "n2")
	say := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
	}
	vector := func(values ...string) string {
		var all []string
		for _, v := range values {
			all = append(all, fmt.Sprintf(`{"metric":{},"value":[1,%q]}`, v))
		}
		return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(all, ",") + `]}}`
	}
	healthy := func(name string, active float64, answered string) {
		t.Helper()
		s.event(name, subjects.MethodHealth, "nginx", map[string]any{"everySeconds": 3600,
			"nginx": map[string]any{"up": true, "counters": map[string]any{"active": active}, "answered": json.RawMessage(answered)}})
	}
	number := 0
	for _, g := range []struct {
		name, gate  string
		unknown     string // why it is at first
		then, after func() // what makes it known: that it passes, or not
		refuses     string
	}{
		{"health", "health:nginx.counters.active<1000", "no health report since it is well",
			func() { healthy("n1", 10, "null"); healthy("n2", 10, "null") }, func() { healthy("n1", 1000, "null"); healthy("n2", 10, "null") }, "n1 has 1000"},
		{"a truth", "health:nginx.up==0", "no health report since it is well", nil, func() { healthy("n1", 1, "null"); healthy("n2", 1, "null") }, "n"},
		{"a field that is not there", "health:nginx.luck>0", "no health report since it is well", nil, nil, ""},
		{"5xx", "5xx<1%", "no health report since it is well",
			func() {
				healthy("n1", 1, `{"answers":1000,"errors":4}`)
				healthy("n2", 1, `{"answers":1000,"errors":4}`)
			},
			func() { healthy("n1", 1, `{"answers":100,"errors":4}`); healthy("n2", 1, `{"answers":100,"errors":4}`) }, "8 of 200 answers, 4.00 %"},
		{"a prometheus", "prometheus:" + server.URL + "?query=sum(e{a!=\"b\"})<5", "is no Prometheus",
			func() { say(func() { answers[`sum(e{a!="b"})`] = vector("4.5", "0") }) }, func() { say(func() { answers[`sum(e{a!="b"})`] = vector("4.5", "7") }) }, "it is 7"},
		{"a query that gives nothing", "prometheus:" + server.URL + "?query=none<5", "is no Prometheus",
			func() {
				say(func() { answers["none"] = `{"status":"success","data":{"resultType":"scalar","result":[1,"4"]}}` })
			}, nil, ""},
		{"a program", "program:smoke", "exit code 2: cannot tell",
			func() { say(func() { programs["smoke"] = station.GateAnswer{} }) },
			func() { say(func() { programs["smoke"] = station.GateAnswer{ExitCode: 1, Reason: "page is blank"} }) }, "page is blank"},
	} {
		for _, end := range []struct {
			phase rollout.Phase
			does  func()
		}{{rollout.Complete, g.then}, {rollout.RolledBack, g.after}} {
			if end.does == nil {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s", g.name, end.phase), func(t *testing.T) {
				c.t, s.t = t, t
				say(func() { clear(answers); programs["smoke"] = station.GateAnswer{ExitCode: 2, Reason: "cannot tell"} })
				number++
				id := c.roll(s.client, fmt.Sprint(number), strategy(t, "100%", func(s *rollout.Strategy) { s.Gates = []string{g.gate} }))
				c.becomes(id, rollout.Waiting, g.unknown)
				if g.name == "a query that gives nothing" {
					say(func() { answers["none"] = vector() })
					c.becomes(id, rollout.Waiting, "the query gives nothing")
					say(func() { answers["none"] = vector("NaN") })
					c.becomes(id, rollout.Waiting, "no number")
					say(func() { answers["none"] = `{"status":"error","error":"bad query"}` })
					c.becomes(id, rollout.Waiting, "it answers: bad query")
				}
				end.does()
				c.becomes(id, end.phase, map[rollout.Phase]string{rollout.RolledBack: "gate " + g.gate + " refuses: " + g.refuses}[end.phase])
			})
		}
	}
	c.t, s.t = t, t
	say(func() {
		if !slices.Contains(asked, `GET /api/v1/query sum(e{a!="b"})`) {
			t.Errorf("it was asked %q", asked)
		}
		if question.Wave != 1 || question.Waves != 1 || len(question.Nodes) != 2 || question.By != "alice" || !slices.Equal(question.Changes, []string{"VirtualHost/site"}) {
			t.Errorf("the program was asked %+v", question)
		}
	})
	id := c.roll(s.client, "luck", strategy(t, "100%", func(s *rollout.Strategy) {
		s.Gates, s.GateTimeout = []string{"health:nginx.luck>0"}, rollout.Duration(50*time.Millisecond)
	}))
	healthy("n1", 1, "null")
	c.becomes(id, rollout.RolledBack, "gate health:nginx.luck>0 said nothing for 50ms: n")
}

func TestARolloutOfWhoIsNotBelievedAnyMoreIsTakenBack(t *testing.T) {
	s := ruled(t)
	st, _ := s.run(quick)
	c := s.crewOf("n1", "n2")
	olga, err := client.Open(within(t), client.Options{URL: s.url, Credentials: s.users["olga"]})
	if err != nil {
		t.Fatal(err)
	}
	defer olga.Close()
	id := c.roll(olga, "new", strategy(t, "1,100%", func(s *rollout.Strategy) { s.Gates = []string{rollout.GateApproval} }))
	c.becomes(id, rollout.Waiting, "for a person")
	s.tell(revoked(s.users["olga"], time.Now()), st)
	c.becomes(id, rollout.RolledBack, "olga, who began it, is not believed any more")
}

func TestOldRolloutsAreToldWithoutTheirNodes(t *testing.T) {
	s := open(t)
	s.station(quick)
	c := s.crewOf("n1")
	oldest := c.roll(s.client, "new", strategy(t, "100%", nil))
	c.becomes(oldest, rollout.Complete, "")
	last := ""
	for i := range 21 {
		plan, err := s.client.Plan(within(t), manifest.Of(host("nobodys", "kind=none", fmt.Sprint(i))), false)
		if err != nil {
			t.Fatal(err)
		}
		if last, err = s.client.StartRollout(within(t), plan, strategy(t, "100%", nil), ""); err != nil {
			t.Fatal(err)
		}
		c.becomes(last, rollout.Complete, "")
	}
	check := func() {
		t.Helper()
		if st := c.rollout(oldest); st.State.Phase != rollout.Complete || st.Size != 1 || st.State.Counts != (rollout.Counts{Applied: 1}) || st.Progress != "complete" || len(st.Changes) != 1 {
			t.Errorf("the oldest is told as %+v", st)
		}
	}
	check()
	s.station(func(c *station.Config) { quick(c); c.Credentials = s.users["station-b"] }) // which reads all of it
	for range 4 {
		check() // whichever answers
	}
	c.becomes(c.roll(s.client, "newer", strategy(t, "100%", nil)), rollout.Complete, "")
}
