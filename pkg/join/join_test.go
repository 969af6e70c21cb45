package join_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/join"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func TestAHostBecomesANode(t *testing.T) {
	s := running(t)
	token := s.token(func(r *station.TokenRecord) { r.Labels = map[string]string{"role": "edge"}; r.Address = "192.0.2.7" })
	j, err := s.join(token, "ship1", func(o *join.Options) { o.Facts = fleet.Facts{Hostname: "ship1.example.org"} })
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"node.creds", "renew.creds", "trust.json", "connection.json"} {
		if info, err := os.Stat(filepath.Join(j.Dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(file, info, err)
		}
	}
	node, err := identity.OpenNode(j.Dir)
	if err != nil || node.UserName() != "ship1" || node.PublicKey() != j.Key {
		t.Fatal(node, err)
	}
	status, err := s.client.Node(within(t), "ship1")
	if err != nil || status.Key != j.Key || status.Labels["role"] != "edge" || status.Address != "192.0.2.7" {
		t.Errorf("%+v, %v", status, err)
	}
	// The JWT holds no permission of its own: those of the role's key count.
	issued, err := identity.ReadIssued(node.UserJWT())
	if err != nil || issued.Role != subjects.Node || issued.Until.Before(time.Now().Add(89*24*time.Hour)) {
		t.Errorf("%+v, %v", issued, err)
	}
	conn := s.connect(node)
	if _, err := conn.Get(within(t), subjects.Desired, subjects.StateKey("ship1", "nginxconfig", "nginx")); fleet.KindOf(err) != fleet.Unknown {
		t.Error("the node may not read what it should be:", err)
	}
	s.told("ship1", message.LifecycleJoined, token.ID()[:12])
	files, err := os.ReadDir(j.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(j.Dir, f.Name()))
		if err != nil || strings.Contains(string(text), token.Seed) {
			t.Errorf("%s holds the token's secret: %v", f.Name(), err)
		}
	}
	_, err = join.Join(within(t), join.Options{Token: token, Name: "ship9", Dir: j.Dir})
	s.refused("a node that is to be another", fleet.Conflict, "ship1 already", err)
}

func TestATokenIsForSoManyNodes(t *testing.T) {
	s := running(t)
	one := s.token()
	if _, err := s.join(one, "ship1"); err != nil {
		t.Fatal(err)
	}
	_, err := s.join(one, "ship2")
	s.refused("a token used twice", fleet.Conflict, "used already", err)
	s.told("ship2", message.LifecycleJoinRefused, "used already")

	three := s.token(func(r *station.TokenRecord) { r.Uses = 3 })
	for _, name := range []string{"a", "b", "c"} {
		if _, err := s.join(three, name); err != nil {
			t.Error(name, err)
		}
	}
	_, err = s.join(three, "d")
	s.refused("a fourth with three uses", fleet.Conflict, "it is for 3 nodes", err)
	if s.used(three) != 3 {
		t.Error("uses:", s.used(three))
	}
}

// Whoever comes first, at whatever station, one token makes one node.
func TestOfJoinsAtOnceWithOneTokenOneWins(t *testing.T) {
	s := running(t)
	s.station("station-b")
	for round := range 5 {
		token := s.token()
		const hosts = 8
		won := make(chan string, hosts)
		lost := make(chan error, hosts)
		for i := range hosts {
			go func() {
				name := string(rune('a'+round)) + string(rune('a'+i))
				if _, err := s.join(token, name); err != nil {
					lost <- err
				} else {
					won <- name
				}
			}()
		}
		winners := 0
		for range hosts {
			select {
			case <-won:
				winners++
			case err := <-lost:
				s.refused("who lost the race", fleet.Conflict, "used already", err)
			}
		}
		if winners != 1 || s.used(token) != 1 {
			t.Errorf("round %d: %d hosts joined, %d uses", round, winners, s.used(token))
		}
	}
}

func TestOfHostsAtOnceWithOneNameOneWins(t *testing.T) {
	s := running(t)
	s.station("station-b")
	const hosts = 6
	results := make(chan error, hosts)
	token := s.token(func(r *station.TokenRecord) { r.Uses = hosts })
	for range hosts {
		go func() {
			_, err := s.join(token, "ship1")
			results <- err
		}()
	}
	winners := 0
	for range hosts {
		if err := <-results; err == nil {
			winners++
		} else if fleet.KindOf(err) != fleet.Conflict {
			t.Error(err)
		}
	}
	if winners != 1 {
		t.Errorf("%d hosts are ship1", winners)
	}
	if used := s.used(token); used != 1 {
		t.Errorf("%d uses are gone for one node", used)
	}
}

func TestATokenIsForItsNames(t *testing.T) {
	s := running(t)
	_, err := s.join(s.token(named("ship1")), "ship2")
	s.refused("another name", fleet.Refused, "is for ship1 and not for ship2", err)
	pattern := s.token(named("ship-*"), func(r *station.TokenRecord) { r.Uses = 9 })
	if _, err := s.join(pattern, "ship-1"); err != nil {
		t.Error(err)
	}
	_, err = s.join(pattern, "shop-1")
	s.refused("a name beside the pattern", fleet.Refused, "is for ship-*", err)
}

func TestANameIsOneNodes(t *testing.T) {
	s := running(t)
	first, err := s.join(s.token(), "ship1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.join(s.token(), "ship1")
	s.refused("a name that is taken", fleet.Conflict, "fairlead nodes rm ship1", err)
	s.told("ship1", message.LifecycleJoinRefused, "already")
	if status, err := s.client.Node(within(t), "ship1"); err != nil || status.Key != first.Key {
		t.Error("the node has another key now:", status.Key, err)
	}
}

func TestNoHostIsCalledWhatIsNoName(t *testing.T) {
	s := running(t)
	token := s.token()
	for _, name := range []string{"*", ">", "", "a.b", "fleet", "live", "all", "command", strings.Repeat("x", 64)} {
		if _, err := s.join(token, name); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q joined: %v", name, err)
		}
	}
	if _, err := s.join(token, "ship1"); err != nil {
		t.Error("the token is spent:", err)
	}
}

func TestATokenEnds(t *testing.T) {
	s := running(t)
	token := s.tokenOf(s.client, time.Second, func(r *station.TokenRecord) { r.Uses = station.MaxUses })
	ctx := within(t)
	for i := 0; ; i++ {
		_, err := s.join(token, fmt.Sprintf("ship%d", i))
		if fleet.KindOf(err) == fleet.Expired { // by the broker, or by the station
			if !strings.HasPrefix(err.Error(), "the token was good until ") {
				t.Error(err)
			}
			return
		}
		if ctx.Err() != nil { // in the moment of its end the connection may just break
			t.Fatal("a token has no end:", err)
		}
	}
}

func TestARemovedTokenIsNone(t *testing.T) {
	s := running(t)
	token := s.token(func(r *station.TokenRecord) { r.Uses = 2 })
	if _, err := s.join(token, "ship1"); err != nil {
		t.Fatal(err)
	}
	if id, err := s.client.RemoveToken(within(t), token.ID()[:8]); err != nil || id != token.ID() {
		t.Fatal(id, err)
	}
	for deadline := time.Now().Add(patience); ; { // until the station has heard of it
		_, err := s.join(token, "ship2")
		if fleet.KindOf(err) == fleet.Unknown {
			break
		}
		if err == nil {
			t.Fatal("a removed token is good")
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if _, err := s.client.Node(within(t), "ship1"); err != nil {
		t.Error("who joined with it has gone too:", err)
	}
}

func TestLabelsAreTheTokensUnlessItSaysOtherwise(t *testing.T) {
	s := running(t)
	token := s.token(func(r *station.TokenRecord) {
		r.Uses, r.Labels, r.Own = 9, map[string]string{"role": "edge"}, []string{"region"}
	})
	wants := func(labels map[string]string) func(*join.Options) { return func(o *join.Options) { o.Labels = labels } }
	_, err := s.join(token, "ship1", wants(map[string]string{"env": "prod"}))
	s.refused("a label of its own choice", fleet.Refused, `"env"`, err)
	_, err = s.join(token, "ship1", wants(map[string]string{"role": "admin"}))
	s.refused("another value for a label", fleet.Refused, `"role"`, err)
	_, err = s.join(token, "ship1", wants(map[string]string{"region": "not a label!"}))
	s.refused("what is no label", fleet.Invalid, "region", err)
	j, err := s.join(token, "ship1", wants(map[string]string{"region": "eu"}))
	if err != nil || j.Labels["region"] != "eu" || j.Labels["role"] != "edge" {
		t.Error(j, err)
	}
}

func TestAnAnswerThatWasLostIsGivenAgain(t *testing.T) {
	s := running(t)
	token := s.token()
	dir := filepath.Join(t.TempDir(), "identity")
	again := func(o *join.Options) { o.Dir = dir }
	first, err := s.join(token, "ship1", again)
	if err != nil {
		t.Fatal(err)
	}
	// As if the host had died before it wrote what it got: its key is what it
	// had on disk.
	creds, err := identity.LoadCreds(filepath.Join(dir, "node.creds"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(creds.File)
	if err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(string(data), "-----BEGIN USER NKEY SEED-----")
	seed, _, _ = strings.Cut(seed, "------END")
	for _, file := range []string{"node.creds", "renew.creds"} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "next.seed"), []byte(strings.TrimSpace(seed)), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := s.join(token, "ship1", again)
	if err != nil || second.Key != first.Key || s.used(token) != 1 {
		t.Fatalf("%+v, %v; %d uses", second, err, s.used(token))
	}
	// But a node that was removed does not come back by itself.
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"node.creds", "renew.creds"} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "next.seed"), []byte(strings.TrimSpace(seed)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.join(token, "ship1", again)
	s.refused("a node that was removed", fleet.Refused, "removed since", err)
	s.told("ship1", message.LifecycleRemoved, "by alice")
}

func TestAHostThatTakesTheNameOfARemovedNodeDoesNotGetItsCommands(t *testing.T) {
	s := running(t, func(c *station.Config) { c.SweepEvery = time.Hour }) // joining ends them, not the look that comes by and by
	if _, err := s.join(s.token(), "ship1"); err != nil {
		t.Fatal(err)
	}
	reload := client.Command{Subject: subjects.Subject{Node: "ship1", Direction: subjects.Command, Method: "reload", Domain: "nginx"}}
	sent, err := s.client.Send(within(t), reload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RemoveNode(within(t), "ship1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.join(s.token(), "ship1"); err != nil {
		t.Fatal(err)
	}
	if found, err := s.client.Command(within(t), sent[0].ID); err != nil || found.State != message.Cancelled || !strings.Contains(found.Ended.Answer.Message, "removed from the register by alice") {
		t.Errorf("the command is %+v: %v", found, err)
	}
	later, err := s.client.Send(within(t), reload)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := s.client.Command(within(t), later[0].ID); err != nil || found.State.Final() {
		t.Errorf("a command to the new one is %+v: %v", found, err)
	}
}
