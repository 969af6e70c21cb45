package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/message"
)

// reason is a flag that says why something is done.
type reason string

// flag is of a command that changes resources.
func (r *reason) flag(c *cobra.Command) { r.flagFor(c, "signed and kept with the change") }

// flagFor is of a command of which what says who reads it.
func (r *reason) flagFor(c *cobra.Command, what string) {
	f := c.Flags()
	f.VarP(r, "message", "m", fmt.Sprintf("why: one line of at most %d characters, %s", message.MaxNote, what))
	f.Var(r, "reason", "the same")
	f.Lookup("reason").Hidden = true // as some commands called it once
}

// Set takes one line of plain text.
func (r *reason) Set(text string) error {
	*r = reason(text)
	return message.CheckNote(text)
}

func (r *reason) String() string { return string(*r) }

// Type is shown in the help.
func (r *reason) Type() string { return "TEXT" }

// quoted is what somebody wrote, told from what the program says.
func quoted(text string) string { return "“" + oneLine(text) + "”" }

// because is a reason that somebody gave, for the end of a line; "" for none.
func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + quoted(text)
}
