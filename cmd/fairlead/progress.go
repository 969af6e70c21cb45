package main

import (
	"fmt"
	"strings"
)

// say writes a line for people to stderr.
func (a *app) say(format string, args ...any) {
	a.clearProgress()
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// progress overwrites its line on a terminal and is silent elsewhere.
func (a *app) progress(format string, args ...any) {
	if !a.terminal {
		return
	}
	line := fmt.Sprintf(format, args...)
	if len(line) > 100 {
		line = line[:99] + "…"
	}
	fmt.Fprint(a.stderr, "\r\x1b[K"+strings.TrimRight(line, "\n"))
}

func (a *app) clearProgress() {
	if a.terminal {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
}
