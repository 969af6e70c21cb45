package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// MethodNginxCheck is the method of nginxcheck, which the command line names too.
const MethodNginxCheck = "nginxcheck"

// NginxCheckBody is a desired state that the node does not have. Without a digest
// it is the one that it has.
type NginxCheckBody struct {
	// Digest is what the resources must render to.
	Digest string `json:"digest,omitempty"`
	// Address is the node's default listen address.
	Address string `json:"address,omitempty"`
	// Resources are what the node would be given, certificates without their keys.
	Resources []fleet.Resource `json:"resources,omitempty"`
}

var _ = define(Definition[NginxCheckBody]{
	Method:  MethodNginxCheck,
	Summary: "have the node's nginx check what the node would be given",
	Details: "The node renders the resources and holds against them all that it would before it loaded them, with its own nginx -t the last. " +
		"Nothing of it stays, and what serves is not touched. A certificate whose key the node has already is checked with that; " +
		"any other with a stand-in for the same names, and the answer says so. Raw configuration and node policies that the node does not have yet " +
		"only an administrator may have checked. An empty body checks what the node is to be now.",
	Lane:    laneNginx,
	Timeout: checkTime,
	Role:    subjects.Operator,
	Domain:  "nginx",
	Returns: nginx.Checked{},
	Handle: func(ctx context.Context, n *Node, c Command[NginxCheckBody]) (Result, error) {
		has, err := desiredNginx(ctx, n, c.Subject.Domain)
		own := c.Body.Digest == "" && len(c.Body.Resources) == 0
		if err != nil && (own || fleet.KindOf(err) != fleet.Unknown) {
			return Result{}, err
		}
		would := has
		if !own {
			for _, r := range c.Body.Resources {
				if err := r.Validate().Err(); err != nil {
					return Result{}, err
				}
			}
			would = nginx.Desired{Digest: c.Body.Digest, Address: c.Body.Address, Resources: withKeys(c.Body.Resources, has.Resources)}
			if err := mayCheck(c.Role, would.Resources, has.Resources); err != nil {
				return Result{}, err
			}
		}
		checked, err := n.Nginx.DryRun(ctx, would)
		if err != nil {
			return Result{}, err
		}
		message := "nginx takes " + nginx.Short(checked.Digest)
		if len(checked.StandIns) > 0 {
			message += fmt.Sprintf("; the key of %s is not here yet and was not looked at", strings.Join(checked.StandIns, ", "))
		}
		if len(checked.Notes) > 0 {
			message += ", but " + strings.Join(checked.Notes, "; ")
		}
		return Result{Message: message, Data: checked}, nil
	},
})

// checkTime is enough for nginx -t of some ten thousand servers.
const checkTime = 2 * time.Minute

// withKeys are resources with the keys of certificates that the node has, sealed to
// it as they are, and without any other.
func withKeys(resources, has []fleet.Resource) []fleet.Resource {
	all := make([]fleet.Resource, len(resources))
	for i, r := range resources {
		all[i] = fleet.Shown(r)
		spec, ok := all[i].Spec.(*fleet.Certificate)
		if !ok {
			continue
		}
		own := *spec
		for _, h := range has {
			if have, ok := h.Spec.(*fleet.Certificate); ok && have.Fingerprint == own.Fingerprint {
				own.SealedKey, own.SealedTo = have.SealedKey, have.SealedTo
			}
		}
		all[i].Spec = &own
	}
	return all
}

// mayCheck refuses what only an administrator may write, unless the node has it.
func mayCheck(role subjects.Role, resources, has []fleet.Resource) error {
	for _, r := range resources {
		if role == subjects.Admin || r.Kind != "ConfigFile" && r.Kind != "NodePolicy" {
			continue
		}
		if !slices.ContainsFunc(has, func(h fleet.Resource) bool { return h.ID() == r.ID() && alike(h, r) }) {
			return fleet.Errorf(fleet.Refused, "%s is new to this node, and only an administrator may have it checked", r.ID())
		}
	}
	return nil
}

func alike(a, b fleet.Resource) bool {
	x, err := json.Marshal(a)
	y, other := json.Marshal(b)
	return err == nil && other == nil && string(x) == string(y)
}
