// Command fairlead manages a fleet of nginx edge nodes over a NATS bus: it is
// broker, station and agent, and the command line that steers them.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/message"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// oneInterrupt is how long interrupts count as one: timeout(1) and other
// programs between a terminal and this one send each of them twice.
const oneInterrupt = time.Second

// run is main without the exit. The first interrupt ends ctx, so that what was
// started is stopped; the second ends the process.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(oneInterrupt, stop) })
	a := newApp()
	root := newRoot(a)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	return a.exit(ctx, c, cmp.Or(err, a.helpless))
}

// exitInterrupted is what a shell says of a program that Ctrl-C ended.
const exitInterrupted = 130

// exitError ends with a code after everything was said already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exit says what is wrong and gives the exit code. What cobra refuses before a
// command begins is a mistake on the command line.
func (a *app) exit(ctx context.Context, c *cobra.Command, err error) int {
	var code exitError
	var usage usageError
	switch {
	case err == nil:
		return message.ExitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
	case !a.begun:
		err = usagef("%s (see `%s --help`)", strings.TrimSpace(err.Error()), c.CommandPath())
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		a.say("interrupted")
		return exitInterrupted
	}
	a.say("%s %v", a.paint(red, "error:"), err)
	if errors.As(err, &usage) {
		return message.ExitRefused
	}
	return message.Settle(err).Exit
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "fairlead",
		Short: "manage a fleet of nginx edge nodes over NATS",
		Long: `Fairlead says what every nginx edge node should be, makes it so, and tells the truth about it.

` + begin + `

Exit codes: 0 done, or all is as it should be; 1 failed; 2 refused, or a mistake; 3 pending or not known, as where no
broker or no station answers; 4 nothing of that name; 130 interrupted.`,
		Example:       example,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.checkOutput()
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print the version") // without a shorthand, as cobra's has
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpFunc(a.helpOf(root.HelpFunc()))
	a.globalFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("context", completeContexts) // the flag was made above
	all := verbs(a)
	for _, group := range []cobra.Group{{ID: "look", Title: "Look:"}, {ID: "change", Title: "Change:"}, {ID: "command", Title: "Command:"},
		{ID: "run", Title: "Run:"}, {ID: "identity", Title: "Identity:"}, {ID: "more", Title: "More:"}} {
		if len(all[group.ID]) == 0 {
			continue
		}
		root.AddGroup(&group)
		for _, c := range all[group.ID] {
			c.GroupID = group.ID
			root.AddCommand(c)
		}
	}
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	addCompletion(root)
	a.prepare(root)
	return root
}
