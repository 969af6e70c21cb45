package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestARolloutEndsRightWhenItsBrokerAndItsStationAreKilled(t *testing.T) {
	p := startParts(t, loopbackBlock(15))
	second := p.startStation()
	out, _ := fairlead(t, p.env, 0, "user", "ls", "--dir", filepath.Join(p.dir, "identity"), "-o", "json")
	var users []struct{ Name, Key string }
	if err := json.Unmarshal([]byte(out), &users); err != nil {
		t.Fatal(err)
	}
	last := net.ParseIP(p.address).To4()
	last[3]++
	for _, u := range users {
		if u.Name == "ship2" {
			fairlead(t, p.env, 0, "nodes", "add", "ship2", "--key", u.Key, "--label", "role=edge", "--address", last.String())
		}
	}
	for name, agent := range map[string]*process{"ship1": p.agent, "ship2": p.agentOf("ship2")} {
		t.Cleanup(func() {
			agent.kill()
			stopNginxIn(t, filepath.Join(p.dir, name))
		})
	}
	serves := func(text string) {
		t.Helper()
		for _, address := range []string{p.address, last.String()} {
			if got, err := get(fmt.Sprintf("http://%s:8080/", address)); err != nil || got != text {
				t.Errorf("%s answers %q, not %q: %v", address, got, text, err)
			}
		}
	}
	old, bad := filepath.Join(p.dir, "old.yaml"), filepath.Join(p.dir, "bad.yaml")
	write(t, old, site("site", "role=edge", 8080, "old"))
	write(t, bad, site("site", "role=edge", 8080, "new")+
		"---\n{apiVersion: fairlead/v1, kind: ConfigFile, metadata: {name: bad}, spec: {context: http, selector: node=ship2, content: \"allow no_such_address;\\n\"}}\n")
	fairlead(t, p.env, 0, "apply", "-f", old, "--wait")
	serves("old")

	fairlead(t, p.env, 0, "apply", "-f", bad, "--canary", "node=ship1", "--waves", "100%", "--approve-after", "1")
	p.eventually(3, `^state +waiting: wave 1 of 2, 1 of 2 nodes released, 1 serve it$`, "rollout", "status")
	if got, err := get(fmt.Sprintf("http://%s:8080/", p.address)); err != nil || got != "new" {
		t.Errorf("the canary answers %q: %v", got, err)
	}
	// With SIGKILL, whichever of the stations drives it.
	p.broker.kill()
	p.station.kill()
	fairlead(t, p.env, 3, "rollout", "status") // that nobody answers is not good
	p.startBroker(strings.TrimPrefix(p.url, "tls://"))
	p.eventually(0, `paused|waiting|running`, "rollout", "approve", "--timeout", "20s")
	p.eventually(1, `^state +rolled back$`, "rollout", "status")
	out, _ = fairlead(t, p.env, 1, "rollout", "status")
	if !strings.Contains(out, "ship2 failed") || !strings.Contains(out, "no_such_address") {
		t.Errorf("it ended so:\n%s", out)
	}
	p.eventually(0, `^ship1 +online.* in sync .*\n(.*\n)*ship2 +online.* in sync `, "status")
	serves("old")
	second.kill()
}
