package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/pkg/message"
)

// reason is a flag that says why something is changed.
type reason string

func (r *reason) flag(c *cobra.Command) {
	c.Flags().VarP(r, "message", "m", fmt.Sprintf("why: one line of at most %d characters, signed and kept with the change", message.MaxNote))
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
