package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
)

func newAuditVerify(a *app) *cobra.Command {
	var since pastTime
	var heads []string
	var forget bool
	c := &cobra.Command{
		Use:   "verify [--since 30d] [--head NUMBER:HASH] [--forget]",
		Short: "compare the audit with what stations signed about it",
		Long: `Stations sign every few seconds what is new in the audit, each time together with all that was signed before.
This compares the two and names the first message that was removed, changed, put in or moved since, whoever did it.
The end of the chain is remembered on this host, and printed as HEAD: an audit that is cut back behind it is found out.
Exit codes: 0 all is as it was signed, 1 it is not, 4 nothing was signed yet.`,
		Example: `  fairlead audit verify
  fairlead audit verify --since 30d
  fairlead audit verify --head 57:3f0c5b0e7e0d7c1f4e9a2b8d6c5a4f3e2d1c0b9a8f7e6d5c4b3a29180706f5e4`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.with(func(ctx context.Context, cl *client.Client, _ []string) error {
		if a.output == "name" {
			return usagef("-o name: messages have no names; use table, json or yaml")
		}
		var o client.VerifyOptions
		for _, text := range heads {
			h, err := client.ParseHead(text)
			if err != nil {
				return err
			}
			o.Heads = append(o.Heads, h)
		}
		o.Since = since.Time
		return a.verifyAudit(ctx, cl, o, forget)
	})
	f := c.Flags()
	since.flag(f, "leave out what was signed longer ago, such as faults that are known")
	f.StringArrayVar(&heads, "head", nil, "a HEAD that somebody wrote down; it must be part of the chain")
	f.BoolVar(&forget, "forget", false, "forget the HEAD that is remembered here, after a restore from a backup")
	return c
}

// verdict is an AuditVerdict for machines.
type verdict struct {
	Good bool `json:"good"`
	client.AuditVerdict
	Remembered *client.Head `json:"remembered,omitempty"` // on this host, before
}

func (a *app) verifyAudit(ctx context.Context, cl *client.Client, o client.VerifyOptions, forget bool) error {
	memory, err := headMemory(cl)
	if err != nil {
		return err
	}
	var before *client.Head
	if !forget {
		if before, err = memory.read(); err != nil {
			return err
		}
	}
	if before != nil {
		o.Heads = append(o.Heads, *before)
	}
	if cl.Trust() == nil {
		a.say("no trust.json beside the credentials: whose key is a station's is taken from the answer of one")
	}
	v, err := cl.VerifyAudit(ctx, o)
	if err != nil {
		return err
	}
	good := len(v.Faults) == 0
	if good {
		if err := memory.write(v.Head); err != nil {
			a.say("the end of the chain is not remembered: %v", err)
		}
	}
	if err := a.print(verdict{good, v, before}, func(t *table) { verdictRows(t, v) }, nil); err != nil || good {
		return err
	}
	if !a.streams() {
		for _, f := range v.Faults {
			fmt.Fprintf(a.stdout, "%s: sequence %d: %s\n", a.paint(red, f.Kind), f.Sequence, oneLine(f.Message))
		}
		if v.Further > 0 {
			fmt.Fprintf(a.stdout, "and %s more\n", count(v.Further, "fault"))
		}
	}
	return exitError(message.ExitFailed)
}

func verdictRows(t *table, v client.AuditVerdict) {
	now := time.Now()
	said := "the audit is what stations signed"
	if len(v.Faults) > 0 {
		said = fmt.Sprintf("the audit is not what stations signed: the first bad sequence is %d", v.Faults[0].Sequence)
	}
	t.row("VERDICT", said)
	span := "holds nothing"
	if v.Last >= v.First && v.Last > 0 {
		span = fmt.Sprintf("sequences %d to %d", v.First, v.Last)
	}
	t.row("AUDIT", span)
	by := ""
	if len(v.Stations) > 0 {
		by = " by " + strings.Join(v.Stations, ", ")
	}
	t.row("SIGNED", fmt.Sprintf("%s, in %s%s", count(int(v.Covered), "message"), count(v.Checkpoints, "checkpoint"), by))
	if v.Uncovered > 0 {
		t.row("NOT YET", fmt.Sprintf("%s, the first stored %s", count(int(v.Uncovered), "message"), ago(v.UncoveredSince, now)))
	}
	if v.Before > 0 {
		t.row("NEVER", fmt.Sprintf("%s of before the first checkpoint", count(int(v.Before), "message")))
	}
	if v.AgedOut > 0 {
		t.row("GONE BY AGE", count(int(v.AgedOut), "message"))
	}
	if v.Head.Number > 0 {
		t.row("HEAD", fmt.Sprintf("%s, signed %s", v.Head, ago(v.Head.At, now)))
	}
}

// headFile is where this user remembers an account's chain.
type headFile string

func headMemory(cl *client.Client) (headFile, error) {
	account := "unknown"
	if owner, ok := cl.Credentials().(interface{ AccountKey() string }); ok {
		account = owner.AccountKey()
	}
	path, err := stateFile("audit", account+".json")
	return headFile(path), err
}

func (f headFile) read() (*client.Head, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var h client.Head
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "the remembered end of the audit, %s: %w: remove it, or give --forget", f, err)
	}
	return &h, nil
}

func (f headFile) write(h client.Head) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return host.WriteFile(string(f), append(data, '\n'), 0o600)
}
