package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
)

// app is what every verb shares: streams, settings, output format.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	context, url, creds string
	ca, tlsCert, tlsKey string
	output              string
	asJSON, debug       bool
	lastKnown           bool                   // of status: what a node said last counts where it is not there
	goesOn              string                 // of a change: what is said when the wait for it is interrupted
	events              bool                   // of verbs that wait: what happens, as JSON
	asked               func() ([]byte, error) // the passphrase of the identity directory, once it was needed
	helpless            error                  // help was asked of a command that does not exist
	begun               bool                   // a command runs: what goes wrong now is not cobra's
	colour              bool                   // stderr and stdout are terminals, and nobody said NO_COLOR
	terminal            bool                   // stderr is a terminal: progress may overwrite its line
	width               int                    // of the terminal that stdout is, 0 where it is none
}

func newApp() *app {
	tty := term.IsTerminal(int(os.Stdout.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		width = 0
	}
	return &app{
		width: width,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		colour:   tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		terminal: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
	}
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVar(&a.context, "context", os.Getenv("FAIRLEAD_CONTEXT"), "NATS context to connect by (FAIRLEAD_CONTEXT); the selected one by default")
	f.StringVar(&a.url, "url", os.Getenv("FAIRLEAD_URL"), "broker's address instead of the context's (FAIRLEAD_URL)")
	f.StringVar(&a.creds, "creds", os.Getenv("FAIRLEAD_CREDS"), "credentials file instead of the context's (FAIRLEAD_CREDS)")
	f.StringVar(&a.ca, "ca", os.Getenv("FAIRLEAD_CA"), "file with the certificates to trust (FAIRLEAD_CA); ca.pem beside the credentials by default, else the system's")
	f.StringVar(&a.tlsCert, "tls-cert", os.Getenv("FAIRLEAD_TLS_CERT"), "file with this program's own certificate, for brokers that ask for one (FAIRLEAD_TLS_CERT)")
	f.StringVar(&a.tlsKey, "tls-key", os.Getenv("FAIRLEAD_TLS_KEY"), "file with its key (FAIRLEAD_TLS_KEY)")
	f.StringVarP(&a.output, "output", "o", "table", "table, wide, json, yaml or name")
	f.BoolVar(&a.asJSON, "json", false, "the same as -o json")
	f.BoolVar(&a.debug, "debug", false, "say on stderr what happens inside")
}

// logger writes to stderr: warnings for a person at a terminal, all that
// matters for a daemon.
func (a *app) logger(level slog.Level) *slog.Logger {
	if a.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// settings are where to connect and as whom: flags before FAIRLEAD_* before
// the NATS context.
func (a *app) settings() (url string, secure bus.TLS, creds *identity.Credentials, err error) {
	var c bus.Context
	if a.url == "" || a.creds == "" {
		if c, err = bus.LoadContext(a.context); err != nil {
			return "", secure, nil, err
		}
	}
	from := ""
	if a.creds == "" {
		from = fmt.Sprintf("context %q: ", c.Name)
	}
	or(&c.URL, a.url)
	or(&c.Creds, a.creds)
	if c.Creds == "" {
		return "", secure, nil, fleet.Errorf(fleet.Invalid, "context %q has no credentials file: Fairlead signs with it; give --creds FILE", c.Name)
	}
	creds, err = identity.LoadCreds(c.Creds)
	secure = a.secureBy(c, c.URL, c.Creds)
	if err != nil { // with expired ones: a node can renew them
		return c.URL, secure, creds, fmt.Errorf("%s%w", from, err)
	}
	if creds.Warning != "" {
		a.logger(slog.LevelWarn).Warn(creds.Warning)
	}
	return c.URL, secure, creds, nil
}

func or(field *string, value string) {
	if value != "" {
		*field = value
	}
}

// open connects to the fleet.
func (a *app) open(ctx context.Context) (*client.Client, error) {
	url, secure, creds, err := a.settings()
	if err != nil {
		return nil, err
	}
	trust, err := pinnedTrust(creds)
	if err != nil {
		return nil, err
	}
	c, err := client.Open(ctx, client.Options{URL: url, TLS: secure, Credentials: creds, Trust: trust, Logger: a.logger(slog.LevelError)})
	switch fleet.KindOf(err) {
	case fleet.Unavailable, fleet.Timeout:
		return nil, fmt.Errorf("%w: is the broker running? `fairlead dev` starts one, `fairlead context ls` lists others", err)
	case fleet.Refused:
		return nil, fmt.Errorf("%w (credentials: %s)", err, creds.File)
	}
	return c, err
}

// pinnedTrust is the signed trust set beside the credentials, or in the identity
// directory that they lie in; zero without one.
func pinnedTrust(creds *identity.Credentials) (message.Message, error) {
	m, err := trustOf(creds, trustFile(creds))
	if errors.Is(err, fs.ErrNotExist) {
		return message.Message{}, nil
	}
	return m, err
}

// trustFile is where the trust set of credentials usually lies.
func trustFile(creds *identity.Credentials) string {
	beside := filepath.Dir(creds.File)
	path := filepath.Join(beside, "trust.json")
	if filepath.Base(beside) == "users" && !there(path) {
		return filepath.Join(filepath.Dir(beside), "trust.json")
	}
	return path
}

// trustOf is the signed trust set of a file, which must be that of the
// credentials' account.
func trustOf(creds *identity.Credentials, path string) (message.Message, error) {
	m, err := identity.LoadTrust(path)
	if err != nil {
		return m, err
	}
	set, err := message.OpenTrust(m)
	if err == nil && set.Account != creds.Account {
		err = fleet.Errorf(fleet.Invalid, "%s is the trust set of another account than that of %q (%s): take the one that belongs to the credentials",
			path, creds.Name, creds.File)
	}
	return m, err
}

// with runs f with a connection.
func (a *app) with(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		defer c.Close()
		return f(cmd.Context(), c, args)
	}
}
