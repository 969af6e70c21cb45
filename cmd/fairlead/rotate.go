package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func newRotate(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "rotate", Short: "replace keys, the old and the new valid side by side",
		Long: `Each kind of key is replaced in two steps. The first makes the new key: both hold, and nobody is cut off. The second, with
--finish, drops the old one: do it once everybody has taken up the new. After a theft do both at once.`,
		Args: cobra.NoArgs,
		Example: `  fairlead rotate roles
  fairlead rotate roles --finish
  fairlead rotate user alice`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(rotateNode(a), rotateSigning(a), rotateRoles(a), rotateTrust(a), rotateCurve(a), rotateUser(a), rotateBroker(a), rotateCA(a), rotatePassphrase(a))
	return c
}

// rotation is the two steps of a verb below rotate.
type rotation struct {
	authorityFlags
	finish bool
}

func (r *rotation) bind(c *cobra.Command) {
	r.flags(c.Flags())
	r.pushFlag(c.Flags())
	c.Flags().BoolVar(&r.finish, "finish", false, "drop the old key")
}

func rotateSigning(a *app) *cobra.Command {
	var r rotation
	c := &cobra.Command{
		Use: "operator-signing", Short: "replace the operator's key that signs accounts", Args: cobra.NoArgs,
		Long: `The spare, which brokers believe already, takes over and signs all accounts anew; no broker is restarted. --finish
drops the old key and makes a new spare: it needs operator.seed back for that moment, and each broker the new
operator.jwt, at its next start.`,
		Example: `  fairlead rotate operator-signing
  fairlead rotate operator-signing --finish`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(r.authorityFlags)
			if err != nil {
				return err
			}
			if r.finish {
				if err := au.FinishSigning(); err != nil {
					return err
				}
				a.say("operator.jwt is another: copy %s to each broker's host and restart the brokers one after the other", filepath.Join(au.Dir(), "broker"))
				return a.done("dropped the operator's old signing key")
			}
			if err := au.RotateSigning(); err != nil {
				return err
			}
			if err := a.done("the operator's spare key signs accounts now"); err != nil {
				return err
			}
			var accounts []string
			for _, text := range au.AccountJWTs() {
				accounts = append(accounts, text)
			}
			return a.change(cmd.Context(), r.authorityFlags, au, news{accounts: accounts})
		},
	}
	r.bind(c)
	return c
}

func rotateRoles(a *app) *cobra.Command {
	var r rotation
	var roles []string
	var yes bool
	c := &cobra.Command{
		Use: "roles", Short: "replace the keys that sign users", Args: cobra.NoArgs,
		Long: `Everybody in the directory gets a JWT by the new keys, and people and stations take it up when they connect. Stations need
the new station.keys to sign nodes by the new key; nodes get theirs when they next renew. --finish locks out who has
no JWT by the new keys yet.`,
		Example: `  fairlead rotate roles
  fairlead rotate roles --role operator --role viewer
  fairlead rotate roles --finish`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(r.authorityFlags)
			if err != nil {
				return err
			}
			if r.finish {
				return a.finishRoles(cmd.Context(), r, au, yes)
			}
			var which []subjects.Role
			for _, role := range roles {
				which = append(which, subjects.Role(role))
			}
			if len(which) == 0 {
				which = subjects.Roles()
			}
			a.progress("signing the users of %s anew", au.Tenant())
			if err := au.RotateRoles(which...); err != nil {
				return err
			}
			if err := a.done(fmt.Sprintf("new keys sign the users of tenant %s", au.Tenant())); err != nil {
				return err
			}
			a.say("give stations the new %s; nodes renew by the new key within %s; then `fairlead rotate roles --finish`",
				stationKeysFrom(au), span(identity.NodeLife*2/3))
			users, err := au.Users()
			if err != nil {
				return err
			}
			accounts, err := accountOf(au)
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), r.authorityFlags, au, news{accounts: accounts, trust: true, renewed: users})
		},
	}
	r.bind(c)
	c.Flags().StringArrayVar(&roles, "role", nil, "`ROLE` whose key is replaced; may be given several times (default all)")
	c.Flags().BoolVar(&yes, "yes", false, "with --finish: do not ask")
	return c
}

func (a *app) finishRoles(ctx context.Context, r rotation, au *identity.Authority, yes bool) error {
	for _, old := range au.ReplacedRoles() {
		if age := time.Since(old.At); !yes && age < identity.NodeLife*2/3 && (old.Role == subjects.Node || old.Role == subjects.Renew) {
			question := fmt.Sprintf("the key of role %s was replaced %s ago; nodes that have not renewed since are locked out. Go on?", old.Role, span(age))
			if ok, err := a.ask(question); err != nil || !ok {
				return firstOf(err, exitError(2))
			}
			break
		}
	}
	gone, err := au.FinishRoles()
	if err != nil {
		return err
	}
	if err := a.done("dropped " + count(len(gone), "old signing key")); err != nil {
		return err
	}
	accounts, err := accountOf(au)
	if err != nil {
		return err
	}
	return a.change(ctx, r.authorityFlags, au, news{accounts: accounts, trust: true})
}

func rotateUser(a *app) *cobra.Command {
	var r rotation
	var out string
	c := &cobra.Command{
		Use: "user NAME", Short: "replace the key of a person or a station", Args: cobra.ExactArgs(1),
		Long: `Makes a new key and creds file for the user. The old key is believed until --finish, which revokes it. A node replaces
its own key: ` + "`fairlead rotate node`" + `.`,
		Example: `  fairlead rotate user alice --out alice
  fairlead rotate user alice --finish`,
		ValidArgsFunction: a.completeUsers(&r.authorityFlags),
		RunE: func(cmd *cobra.Command, args []string) error {
			au, err := a.authority(r.authorityFlags)
			if err != nil {
				return err
			}
			if r.finish {
				old, err := au.FinishUser(args[0])
				if err != nil {
					return err
				}
				if err := a.done(fmt.Sprintf("revoked the old key of %s, %s", old.Name, old.Key)); err != nil {
					return err
				}
				accounts, err := accountOf(au)
				if err != nil {
					return err
				}
				return a.change(cmd.Context(), r.authorityFlags, au, news{accounts: accounts, trust: true})
			}
			file := ""
			if out != "" {
				file = filepath.Join(out, args[0]+".creds")
			}
			u, err := au.RotateUser(args[0], file)
			if err != nil {
				return err
			}
			if err := a.handOut(au, u, out); err != nil {
				return err
			}
			if err := a.tellUser(u, ""); err != nil {
				return err
			}
			if out != "" {
				a.say("take it up: `fairlead context add CONTEXT --url … --creds %s`; then `fairlead rotate user %s --finish`", u.CredsFile, u.Name)
			}
			return a.change(cmd.Context(), r.authorityFlags, au, news{trust: true})
		},
	}
	r.bind(c)
	c.Flags().StringVar(&out, "out", "", "`DIR` to write the new creds file to; needed where the old one was given away")
	return c
}

func rotatePassphrase(a *app) *cobra.Command {
	var o authorityFlags
	var fd int
	c := &cobra.Command{
		Use: "passphrase", Short: "give an identity directory a passphrase, or another one", Args: cobra.NoArgs,
		Long: `Encrypts the seeds of a directory that has none in the clear yet, or changes its passphrase. Seeds that lie in backups are
encrypted with the passphrase of then. Creds files stay as they are.`,
		Example: `  fairlead rotate passphrase`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			au, err := a.authority(o)
			if err != nil {
				return err
			}
			if err := au.CheckPassphrase(); err != nil {
				return err
			}
			passphrase, err := a.newPassphrase(fd, "FAIRLEAD_NEW_PASSPHRASE")
			if err != nil {
				return err
			}
			a.progress("encrypting %s", au.Dir())
			if err := au.Encrypt(passphrase); err != nil {
				return err
			}
			if left := au.InTheClear(); len(left) > 0 {
				a.say("%s with private keys lie in the clear in %s: give them to their owners and remove them there", count(len(left), "creds file"), filepath.Dir(left[0]))
			}
			return a.done("the seeds in " + au.Dir() + " are encrypted with the new passphrase")
		},
	}
	o.flags(c.Flags())
	c.Flags().IntVar(&fd, "new-passphrase-fd", -1, "file descriptor to read the new passphrase from, instead of FAIRLEAD_NEW_PASSPHRASE or a question")
	return c
}

// done prints what was done.
func (a *app) done(what string) error {
	return a.print(map[string]string{"done": what}, func(t *table) { t.row(what) }, func() []string { return []string{what} })
}
