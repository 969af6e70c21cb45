package main

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// An interrupt ends the waiting and says so; the command is stored and goes on.
func TestInterruptedWaitSaysThatTheCommandGoesOn(t *testing.T) {
	f := fleetOfTwo(t)
	waiting := start(t, f.env(), "shell", "node2", "--", "sleep", "2")
	eventually(t, func() error {
		out, _ := fairlead(t, f.env(), 0, "status", "node2")
		if !strings.Contains(out, "node2.command.shellcommand.operatingsystem") {
			return fmt.Errorf("it is not under way:\n%s", out)
		}
		return nil
	})
	waiting.ends(t, syscall.SIGINT, exitInterrupted)
	m := waiting.err.await(t, "interrupted; the command goes on: `fairlead audit --id ([0-9A-Z]{26})` shows how it ends, `fairlead cancel")
	eventually(t, func() error {
		out, _ := fairlead(t, f.env(), 0, "audit", "--id", m[1])
		if !regexp.MustCompile(`shellcommand +.*succeeded`).MatchString(out) {
			return fmt.Errorf("it has not ended:\n%s", out)
		}
		return nil
	})
}
