package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairlead/pkg/client"
	"fairlead/pkg/station"
)

func TestThePageFitsTheTerminal(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	g := client.Glance{At: now, Commands: 300, Events: 500, Summary: station.Summary{Now: now}}
	for i := range 200 {
		n := station.NodeStatus{Name: fmt.Sprintf("node%03d", i), Presence: station.Online, Sync: station.FailedIn, Message: strings.Repeat("long ", 50)}
		g.Summary.Add(n)
		g.Amiss = append(g.Amiss, n)
	}
	var out bytes.Buffer
	a := &app{stdout: &out}
	last := client.Glance{At: now.Add(-2 * time.Second), Commands: 100, Events: 400}
	const width, height = 60, 15
	lines := a.topLines(last, g, height)
	if len(lines) > height || !strings.Contains(strings.Join(lines, "\n"), "0 waiting, 100.0/s sent, 50.0/s answered") || lines[1] != "sync      200 nodes, 200 failed" {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	a.page(width, height, lines)
	page := out.String()
	if !strings.HasPrefix(page, "\x1b[H") || !strings.HasSuffix(page, "\x1b[J") || strings.Contains(page, "\x1b[2J") {
		t.Errorf("the page is not written over the one before: %q", page)
	}
	for line := range strings.SplitSeq(page, "\r\n") {
		line = strings.NewReplacer("\x1b[H", "", "\x1b[K", "", "\x1b[J", "").Replace(line)
		if len([]rune(line)) > width {
			t.Errorf("%d columns: %q", len([]rune(line)), line)
		}
	}
	if text := rates(client.Glance{}, g); text != "" {
		t.Errorf("the first glance has a rate: %q", text)
	}
}

// terminal is a pseudo terminal: what a program sees, and the end of who looks.
func terminal(t *testing.T) (inside, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 20, Col: 80})
	}
	if err == nil {
		inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inside.Close() })
	return inside, person
}

func TestTopLeavesTheTerminalAsItFoundIt(t *testing.T) {
	f := fleetOfTwo(t)
	for name, key := range map[string]string{"q": "q", "Ctrl-C": "\x03"} {
		t.Run(name, func(t *testing.T) {
			inside, person := terminal(t)
			before, err := unix.IoctlGetTermios(int(inside.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program(t, "fairlead"), "top", "--every", "100ms")
			cmd.Env = append(f.env(), "TERM=xterm")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = inside, inside, inside
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			shown := make(chan string, 1)
			go func() {
				var all strings.Builder
				var part [4096]byte
				twice := false
				for {
					n, err := person.Read(part[:])
					all.Write(part[:n])
					if !twice && strings.Count(all.String(), "presence  2 online") >= 2 {
						twice = true
						_, _ = io.WriteString(person, key)
					}
					if err != nil || strings.HasSuffix(all.String(), screenOff) {
						shown <- all.String()
						return
					}
				}
			}()
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(patience):
				_ = cmd.Process.Kill()
				t.Fatal("it does not end")
			}
			text := <-shown
			if !strings.HasPrefix(text, screenOn) || !strings.HasSuffix(text, screenOff) {
				t.Errorf("the screen is not given back: %q", text)
			}
			after, err := unix.IoctlGetTermios(int(inside.Fd()), unix.TCGETS)
			if err != nil || *after != *before {
				t.Errorf("the terminal is %+v, and was %+v (%v)", after, before, err)
			}
		})
	}
}
