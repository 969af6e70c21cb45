package main

import "fmt"

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
	width := a.width
	if width == 0 {
		width = 80
	}
	fmt.Fprint(a.stderr, "\r\x1b[K"+cutTo(oneLine(fmt.Sprintf(format, args...)), width-1))
}

func (a *app) clearProgress() {
	if a.terminal {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
}
