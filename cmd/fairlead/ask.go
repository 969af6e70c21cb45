package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ask puts a question that changes something to a person. Without one, the
// error says to decide with --yes.
func (a *app) ask(question string) (bool, error) {
	if in, ok := a.stdin.(*os.File); ok && !term.IsTerminal(int(in.Fd())) {
		return false, usagef("nobody is there to be asked: give --yes to go on")
	}
	a.clearProgress()
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}
