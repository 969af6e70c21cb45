package handlers

import (
	"context"
	"fmt"

	"fairlead/pkg/adopt"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// MethodAdopt is the method of adopt, which the command line names too.
const MethodAdopt = "adopt"

// AdoptBody asks what the host's nginx configuration becomes, or permits to
// replace it.
type AdoptBody struct {
	// Conf is the configuration to read, /etc/nginx/nginx.conf or the one that the agent's nginx runs when empty.
	Conf string `json:"conf,omitempty"`
	// Permit is the digest that an earlier answer gave: the next revision takes that file's place.
	Permit string `json:"permit,omitempty"`
}

// Adopted is what a node's configuration becomes.
type Adopted struct {
	adopt.Result
	// Path of the file that was read, on the node.
	Path string `json:"path"`
	// Digest of the file, for permission to take its place; empty where this agent cannot.
	Digest string `json:"digest,omitempty"`
	// Why says why it cannot.
	Why string `json:"why,omitempty"`
	// Check is what this node's nginx says against the resources, empty for nothing.
	Check string `json:"check,omitempty"`
}

// Takeover is what an nginx can do for adoption; *nginx.Engine is one.
type Takeover interface {
	// Foreign is the configuration that the host had; the error is Unknown
	// where there is none at the place of the agent's own.
	Foreign() (nginx.Foreign, error)
	// Prefix is nginx's --prefix.
	Prefix() string
	// PermitTakeover allows the next revision to take its place.
	PermitTakeover(digest string) error
	// Check has nginx read a bundle without serving it.
	Check(ctx context.Context, b nginx.Bundle) error
}

const hostConf = "/etc/nginx/nginx.conf"

var _ = define(Definition[AdoptBody]{
	Method:  MethodAdopt,
	Summary: "turn the host's own nginx configuration into resources",
	Details: "The node reads the configuration and answers with the resources that say the same, with notes on what would differ, " +
		"and with what its nginx says against them. Nothing is changed. " +
		"With permit, the next revision takes the place of the file with that digest, in one step, and gives it back if it fails.",
	Lane:    laneNginx,
	Role:    subjects.Admin,
	Domain:  "nginx",
	Returns: Adopted{},
	Example: AdoptBody{Conf: hostConf},
	Handle: func(ctx context.Context, n *Node, c Command[AdoptBody]) (Result, error) {
		if n.Takeover == nil {
			return Result{}, fleet.Errorf(fleet.Refused, "this node's agent has no nginx to care for")
		}
		if c.Body.Permit != "" {
			if err := n.Takeover.PermitTakeover(c.Body.Permit); err != nil {
				return Result{}, err
			}
			return Result{Changed: true, Message: "the next revision takes the place of the host's configuration"}, nil
		}
		a, err := adopted(ctx, n, c.Body.Conf)
		if err != nil {
			return Result{}, err
		}
		return Result{Message: fmt.Sprintf("%s: %d of %d servers become virtual hosts, %d resources in all", a.Path, a.Typed, a.Servers, len(a.Resources)), Data: a}, nil
	},
})

// adopted reads and converts, and has nginx look at the outcome.
func adopted(ctx context.Context, n *Node, conf string) (a Adopted, err error) {
	foreign, ferr := n.Takeover.Foreign()
	switch {
	case conf != "":
		a.Path = conf
	case ferr == nil:
		a.Path = foreign.Path
	default:
		a.Path = hostConf
	}
	if ferr == nil && a.Path == foreign.Path {
		a.Digest = foreign.Digest
	} else {
		a.Why = "the agent's nginx does not run this file: start the agent with --nginx external and --nginx-conf " +
			"for the directory that holds it, and with the --nginx-pid of the nginx that runs it"
	}
	read, err := adopt.Read(a.Path, n.Takeover.Prefix())
	if err != nil {
		return a, err
	}
	a.Result = read.Convert(adopt.Options{Selector: "node=" + n.Name})
	bundle, err := nginx.Render("", a.Resources)
	if err == nil {
		err = n.Takeover.Check(ctx, bundle)
	}
	if err != nil {
		a.Check = err.Error()
	}
	return a, nil
}
