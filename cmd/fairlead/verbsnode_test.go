package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheProgramForNodesIsAnAgentWithoutABroker(t *testing.T) {
	program := filepath.Join(t.TempDir(), "fairlead-node")
	for _, args := range [][]string{
		{"build", "-buildvcs=false", "-tags", "node", "-o", program, "."},
		{"vet", "-tags", "node", "."},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	deps, err := exec.Command("go", "list", "-deps", "-tags", "node", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(deps), "nats-server") || strings.Contains(string(deps), "fairlead/pkg/broker") {
		t.Error("it has a broker in it")
	}
	for _, verb := range []string{"agent", "join", "version"} {
		if out, err := exec.Command(program, verb, "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "fairlead "+verb) {
			t.Errorf("%s: %v: %s", verb, err, out)
		}
	}
	if out, err := exec.Command(program, "broker").CombinedOutput(); err == nil {
		t.Errorf("it runs a broker: %s", out)
	}
	out, err := exec.Command(program, "--help").CombinedOutput()
	if err != nil || strings.Contains(string(out), "fairlead dev") || strings.Contains(string(out), "Look:") {
		t.Errorf("its help speaks of what it has not: %v: %s", err, out)
	}
}
