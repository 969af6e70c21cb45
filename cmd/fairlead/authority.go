package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// authorityFlags are those of verbs that work on an identity directory.
type authorityFlags struct {
	dir          string
	tenant       string
	passphraseFD int
	offline      bool
}

const usualIdentity = "/var/lib/fairlead/identity"

func (o *authorityFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&o.dir, "dir", os.Getenv("FAIRLEAD_IDENTITY"), "identity directory (FAIRLEAD_IDENTITY); by default the one that the context's credentials lie in, else "+usualIdentity)
	f.StringVar(&o.tenant, "tenant", os.Getenv("FAIRLEAD_TENANT"), "tenant (FAIRLEAD_TENANT); the only one, or main, by default")
	o.passphraseFlag(f)
}

func (o *authorityFlags) passphraseFlag(f *pflag.FlagSet) {
	f.IntVar(&o.passphraseFD, "passphrase-fd", -1, "file descriptor to read the passphrase of encrypted seeds from, instead of FAIRLEAD_PASSPHRASE or a question")
}

func (o *authorityFlags) pushFlag(f *pflag.FlagSet) {
	f.BoolVar(&o.offline, "offline", false, "change the directory and tell no broker; \"fairlead tenant push\" does it later")
}

// identityDir is where the identity directory is, as far as anybody said.
func (a *app) identityDir(o authorityFlags) string {
	if o.dir != "" {
		return o.dir
	}
	creds := a.creds
	if creds == "" {
		if c, err := bus.LoadContext(a.context); err == nil {
			creds = c.Creds
		}
	}
	for dir := filepath.Dir(creds); creds != "" && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if there(filepath.Join(dir, "operator.jwt")) {
			return dir
		}
	}
	return usualIdentity
}

// authority loads the tenant that is meant.
func (a *app) authority(o authorityFlags) (*identity.Authority, error) {
	dir := a.identityDir(o)
	options := a.authorityOptions(o, dir)
	if options.Tenant == "" {
		tenants, err := identity.Tenants(dir)
		switch {
		case err != nil:
			return nil, err
		case len(tenants) == 1:
			options.Tenant = tenants[0]
		case len(tenants) > 1 && !slices.Contains(tenants, "main"):
			return nil, usagef("there are the tenants %s: name one with --tenant", strings.Join(tenants, ", "))
		}
	}
	return identity.Load(dir, options)
}

func (a *app) authorityOptions(o authorityFlags, dir string) identity.Options {
	if a.asked == nil { // a verb may open several tenants, and is told once
		a.asked = sync.OnceValues(func() ([]byte, error) {
			return a.passphrase(o.passphraseFD, "FAIRLEAD_PASSPHRASE", "passphrase of "+dir+": ")
		})
	}
	return identity.Options{Tenant: o.tenant, Methods: handlers.All().Sent(), Passphrase: a.asked}
}

// passphrase is what a file descriptor (from 0), a variable of the environment
// or a person says.
func (a *app) passphrase(fd int, variable, question string) ([]byte, error) {
	switch text := os.Getenv(variable); {
	case fd >= 0:
		f := os.NewFile(uintptr(fd), "passphrase")
		if f == nil {
			return nil, usagef("file descriptor %d with the passphrase is not open", fd)
		}
		defer f.Close()
		line, err := bufio.NewReader(f).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, usagef("read the passphrase from file descriptor %d: %v", fd, err)
		}
		return []byte(strings.TrimRight(line, "\r\n")), nil
	case text != "":
		return []byte(text), nil
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, fleet.Errorf(fleet.Refused, "a passphrase is needed and nobody is there to be asked: set %s, or give a file descriptor", variable)
	}
	a.clearProgress()
	fmt.Fprint(a.stderr, question)
	text, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.stderr)
	return text, err
}

// newPassphrase asks twice where a person is asked.
func (a *app) newPassphrase(fd int, variable string) ([]byte, error) {
	first, err := a.passphrase(fd, variable, "new passphrase: ")
	if err != nil || fd >= 0 || os.Getenv(variable) != "" {
		return first, err
	}
	second, err := a.passphrase(fd, variable, "the same again: ")
	if err == nil && string(first) != string(second) {
		err = usagef("the two are not the same")
	}
	return first, err
}

// completeUsers completes the first argument with the tenant's users.
func (a *app) completeUsers(o *authorityFlags) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		au, err := a.authority(*o)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		users, _ := au.Users() // those that can be read
		var names []string
		for _, u := range users {
			names = append(names, u.Name+"\t"+string(u.Role))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTenants completes the first argument with the directory's tenants.
func (a *app) completeTenants(o *authorityFlags) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, _ := identity.Tenants(a.identityDir(*o)) // none where there are none
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// brokerURL is where the brokers of a directory are: what was given, else what
// the directory remembers, else what the context says.
func (a *app) brokerURL(dir string) (string, bus.TLS, error) {
	var c bus.Context
	if a.url == "" {
		known, err := identity.ReadConnection(dir)
		if c.URL = known.URL; err != nil {
			if c, err = bus.LoadContext(a.context); err != nil {
				return "", bus.TLS{}, usagef("where the broker is, neither %s nor a context says: give --url", dir)
			}
		}
	}
	or(&c.URL, a.url)
	return c.URL, a.secureBy(c, c.URL, filepath.Join(dir, "system", "system.creds")), nil
}
