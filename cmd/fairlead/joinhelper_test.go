package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/station"
)

// script makes a program of a shell's commands.
func script(t *testing.T, dir, name, commands string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+commands+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAJoinHelperIsAskedInJSONAndTakenAtItsWord(t *testing.T) {
	dir := t.TempDir()
	asked := station.JoinCandidate{Name: "ship1", Key: "U1", Labels: map[string]string{"role": "edge"}, Facts: fleet.Facts{Hostname: "h"},
		Token: "t", TokenBy: "alice", Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	for name, c := range map[string]struct {
		commands string
		want     station.JoinVerdict
	}{
		"lets it in":           {`cat >"$0.question"; echo '{"allow":true,"labels":{"rack":"7"},"address":"192.0.2.9"}'`, station.JoinVerdict{Allow: true, Labels: map[string]string{"rack": "7"}, Address: "192.0.2.9"}},
		"refuses it":           {`cat >"$0.question"; echo '{"allow":false,"reason":"not in the inventory"}'`, station.JoinVerdict{Reason: "not in the inventory"}},
		"says nothing of it":   {`cat >"$0.question"; echo '{}'`, station.JoinVerdict{}},
		"does not even listen": {`echo '{"allow":true}'`, station.JoinVerdict{Allow: true}},
		"complains as well":    {`echo careful >&2; echo '{"allow":true}'`, station.JoinVerdict{Allow: true}},
	} {
		path := script(t, dir, strings.ReplaceAll(name, " ", "-"), c.commands)
		ask, err := joinHelper(path, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ask(t.Context(), asked)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("one that %s: %+v, %v", name, got, err)
		}
		if !strings.Contains(c.commands, "question") {
			continue
		}
		var heard station.JoinCandidate
		text, err := os.ReadFile(path + ".question")
		if err == nil {
			err = json.Unmarshal(text, &heard)
		}
		if err != nil || fmt.Sprint(heard) != fmt.Sprint(asked) {
			t.Errorf("one that %s heard %s, %v", name, text, err)
		}
	}
}

func TestAJoinHelperThatAnswersAmissLetsNobodyIn(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		commands string
		kind     fleet.Kind
		part     string
	}{
		"garbage":      {`echo yes`, fleet.Invalid, "answered what cannot be read"},
		"nothing":      {`cat >/dev/null`, fleet.Invalid, "answered what cannot be read"},
		"half":         {`printf '{"allow":true'`, fleet.Invalid, "answered what cannot be read"},
		"words":        {`echo '{"allow":"yes"}'`, fleet.Invalid, "answered what cannot be read"},
		"more fields":  {`echo '{"allow":true,"admin":true}'`, fleet.Invalid, `unknown field "admin"`},
		"two":          {`echo '{"allow":true}{"allow":false}'`, fleet.Invalid, "more than one verdict"},
		"and a remark": {`echo '{"allow":true} # for now'`, fleet.Invalid, "more than one verdict"},
		"too much":     {`echo '{"allow":true}'; head -c 400000 /dev/zero`, fleet.Invalid, "more than one verdict"},
		"a failure":    {`echo '{"allow":true}'; echo 'the inventory is away' >&2; exit 3`, fleet.Failed, "ended with exit code 3: the inventory is away"},
		"a signal":     {`echo '{"allow":true}'; kill -9 $$`, fleet.Failed, "ended with exit code -1"},
	} {
		ask, err := joinHelper(script(t, dir, strings.ReplaceAll(name, " ", "-"), c.commands), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ask(t.Context(), station.JoinCandidate{Name: "ship1"})
		if fleet.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.part) || got.Allow {
			t.Errorf("%s: %+v, %v, want something with %q", name, got, err, c.part)
		}
	}
}

func TestAJoinHelperThatHangsIsEnded(t *testing.T) {
	dir := t.TempDir()
	for name, commands := range map[string]string{"hangs": `while :; do sleep 1; done`, "stubborn": `trap '' TERM; while :; do sleep 1; done`} {
		path := script(t, dir, name, commands)
		ask, err := joinHelper(path, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t.Context(), station.JoinCandidate{Name: "ship1"}); fleet.KindOf(err) != fleet.Timeout || !strings.Contains(fmt.Sprint(err), "has not answered within 50ms") || got.Allow {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if left := processesOf(t, path); len(left) > 0 {
			t.Errorf("%s: it goes on: %q", name, left)
		}
	}
}

func TestAStationDoesNotBeginWithoutTheJoinHelperItIsToAsk(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	write(t, plain, "#!/bin/sh\n")
	for _, program := range []string{filepath.Join(dir, "none"), "no-such-program-anywhere", plain, dir} {
		if _, err := joinHelper(program, helperTime); fleet.KindOf(err) != fleet.Invalid || !strings.Contains(fmt.Sprint(err), "--join-helper") {
			t.Errorf("%s is taken: %v", program, err)
		}
	}
}

// A station asks a real program, and `join --run` goes on as the agent where that
// lets the host in, and nowhere else.
func TestAHostThatTheJoinHelperLetsInRunsItsAgentAtOnce(t *testing.T) {
	dir, address := ownDir(t), loopbackBlock(14)
	env := home(dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	fairlead(t, env, 0, "init", "--dir", in("identity"))
	if err := os.CopyFS(in("host/identity/broker"), os.DirFS(in("identity/broker"))); err != nil {
		t.Fatal(err)
	}
	broker := start(t, env, "broker", "--data", in("host"), "--listen", "127.0.0.1:0", "--sync", "2m")
	url := broker.err.await(t, `broker is ready.* url=(tls://\S+)`)[1]
	tenant := in("identity/tenants/main")
	base := []string{"station", "--url", url, "--creds", tenant + "/users/station.creds", "--trust", tenant + "/trust.json", "--join-helper"}
	_, stderr := fairlead(t, env, 2, append(base, in("none"))...)
	if !strings.Contains(stderr, "--join-helper") {
		t.Errorf("a helper that is not there is told as:\n%s", stderr)
	}
	helper := script(t, dir, "helper", fmt.Sprintf(`question=$(cat)
case "$question" in
*'"name":"good"'*) echo '{"allow":true,"labels":{"site":"harbour"},"address":"%s"}' ;;
*'"name":"bad"'*) echo '{"allow":false,"reason":"not in the inventory"}' ;;
*'"name":"odd"'*) echo '{"allow":true,"labels":{"not a label":"x"}}' ;;
*'"name":"astray"'*) echo '{"allow":true,"address":"the harbour"}' ;;
*'"name":"garbage"'*) echo yes ;;
*) echo 'the inventory is away' >&2; exit 3 ;;
esac`, address))
	asks := start(t, env, append(base, helper)...)
	fairlead(t, env, 0, "context", "add", "helped", "--url", url, "--creds", tenant+"/users/admin.creds")
	fairlead(t, env, 0, "context", "select", "helped")
	asks.err.await(t, `station runs`)

	out, _ := fairlead(t, env, 0, "token", "create", "--uses", "9", "--label", "role=edge")
	token := strings.TrimPrefix(strings.TrimSpace(out), "fairlead join ")
	elsewhere := home(in("elsewhere"))
	for name, c := range map[string]struct {
		code     int
		says     string // the host that joins
		stations string // its log
	}{
		"bad":     {2, "the station's join helper refuses it: not in the inventory", ""},
		"odd":     {3, "does not answer as it should", `label key .*not a label`},
		"astray":  {3, "does not answer as it should", `the harbour.* is not an IP address`},
		"garbage": {3, "does not answer as it should", `answered what cannot be read`},
		"broken":  {3, "does not answer as it should", `exit code 3: the inventory is away`},
	} {
		stdout, stderr := fairlead(t, elsewhere, c.code, "join", token, "--name", name, "--state", in(name), "--run")
		if !strings.Contains(stderr, c.says) || strings.Contains(stderr, "station.keys") || stdout != "" {
			t.Errorf("%s is told:\n%s%s", name, stdout, stderr)
		}
		if c.stations != "" {
			asks.err.await(t, `the join helper does not do its work.*node=`+name+`.*`+c.stations)
		}
	}

	state := in("good/state")
	running := start(t, elsewhere, "join", token, "--name", "good", "--state", state, "--run", "--",
		"--run", in("good/run"), "--logs", in("good/logs"), "--nginx-conf", in("good/conf"), "--nginx-workers", "1", "--health-every", "1s")
	running.out.await(t, `this host is node good`)
	t.Cleanup(func() { stopNginxIn(t, in("good")) })
	file := in("site.yaml")
	write(t, file, site("helped", "site=harbour,role=edge", 8080, "let in"))
	eventually(t, func() error {
		p := start(t, env, "nodes", "-l", "site=harbour,role=edge")
		if _, err := p.wait(); err != nil || !regexp.MustCompile(`(?m)^good +online`).MatchString(p.out.text()) {
			return fmt.Errorf("%v:\n%s%s", err, p.out.text(), p.err.text())
		}
		return nil
	})
	fairlead(t, env, 0, "apply", "-f", file, "--wait")
	if text, err := get("http://" + address + ":8080/"); err != nil || text != "let in" {
		t.Errorf("it serves %q, %v", text, err)
	}
	running.ends(t, syscall.SIGTERM, 0)

	nodes, _ := fairlead(t, env, 0, "nodes", "-o", "name")
	if nodes != "good\n" {
		t.Errorf("nodes are:\n%s", nodes)
	}
	history, _ := fairlead(t, env, 0, "audit")
	if !regexp.MustCompile(`bad +.*refused.*not in the inventory`).MatchString(history) {
		t.Errorf("the audit has no refusal:\n%s", history)
	}
}
