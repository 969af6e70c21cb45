package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// MethodNginxConfig is the method of nginxconfig, which station and agent name too.
const MethodNginxConfig = subjects.MethodConfig

// NginxConfigBody names the revision that woke the node. The node converges to
// the newest revision that it can read, which may be a newer one.
type NginxConfigBody struct {
	// Revision is the least that will do; 0 takes any.
	Revision uint64 `json:"revision,omitempty"`
	// Digest is that of the revision, for the audit.
	Digest string `json:"digest,omitempty"`
	// By is who changed the resources, for the audit.
	By string `json:"by,omitempty"`
}

// Reported is what a node says about its nginx configuration.
type Reported struct {
	// ObservedRevision is the newest revision that nginx was proven to serve as a whole.
	ObservedRevision uint64 `json:"observedRevision"`
	// Digest is that of what was proven.
	Digest string `json:"digest,omitempty"`
	// Revision is the newest one tried.
	Revision uint64 `json:"revision"`
	// Status is "applied", "partial" where some resources are held back, or "failed".
	Status string `json:"status"`
	// Message is nginx's own line on failure, and which resources are held back.
	Message string `json:"message,omitempty"`
	// RunningDigest is what nginx itself answers.
	RunningDigest string `json:"runningDigest,omitempty"`
	// DiskDigest is that of the version that nginx would read now.
	DiskDigest string `json:"diskDigest,omitempty"`
	// Hosts are the resources and what became of each, those that are held back first; at most 2000.
	Hosts []nginx.ResourceState `json:"hosts,omitempty"`
	// Bake is the trial of the observed revision, absent when it has passed.
	Bake *nginx.Bake `json:"bake,omitempty"`
	// Quarantine is what failed on this node, the last one last.
	Quarantine []nginx.Quarantined `json:"quarantine,omitempty"`
	// Certificates are those that nginx serves.
	Certificates []nginx.ServedCertificate `json:"certificates,omitempty"`
	// Drift is what was changed beside Fairlead, and what became of it.
	Drift *nginx.Drift `json:"drift,omitempty"`
	// Paused is the pause that goes on.
	Paused *nginx.Pause `json:"paused,omitempty"`
	At     time.Time    `json:"at"`
}

// Statuses of a Reported document.
const (
	StatusApplied = "applied"
	StatusPartial = "partial"
	StatusFailed  = "failed"
)

var _ = define(Definition[NginxConfigBody]{
	Method:  MethodNginxConfig,
	Summary: "make nginx what the newest desired revision says",
	Details: "The node reads its desired state, renders it, lets nginx check it beside the running one, swaps one link, " +
		"reloads, and waits for nginx itself to prove that the new revision serves. " +
		"A resource that is to blame for a failure does not hold the others back: the version of it that served last " +
		"is kept, or it is left out, and the command fails with the names, the reasons and what serves instead. " +
		"On any other failure the last good revision is put back and proven, and the answer carries nginx's own line. " +
		"A revision that failed is not tried again by the node itself, until a command asks for it. " +
		"An empty body means: converge to whatever is newest.",
	Lane:    laneNginx,
	Latest:  true,
	Timeout: 5 * time.Minute,
	Role:    subjects.Operator,
	Domain:  "nginx",
	Returns: nginx.Verdict{},
	Example: NginxConfigBody{Revision: 7},
	Handle: func(ctx context.Context, n *Node, c Command[NginxConfigBody]) (Result, error) {
		desired, err := desiredNginx(ctx, n, c.Subject.Domain)
		comes := func() bool { return n.State.Coming(MethodNginxConfig, c.Subject.Domain) > desired.Revision }
		for limit := time.After(lagTime); err == nil && desired.Revision < c.Body.Revision && limit != nil && !comes(); {
			select {
			case <-time.After(lagLook):
				desired, err = desiredNginx(ctx, n, c.Subject.Domain)
			case <-limit:
				limit = nil
			case <-ctx.Done():
				return Result{}, ctx.Err()
			}
		}
		if err != nil {
			return Result{}, err
		}
		if comes() && !c.Own() {
			return Result{}, Later{fmt.Sprintf("what is newer than revision %d and on its way", desired.Revision)}
		}
		if desired.Revision < c.Body.Revision {
			return Result{}, fleet.Errorf(fleet.Unavailable, "revision %d is asked for and %d is the newest that can be read", c.Body.Revision, desired.Revision)
		}
		if !c.Own() { // who asks for a revision that failed wants it tried again
			n.Nginx.Pardon(desired.Digest)
		}
		outcome, err := n.Nginx.Converge(ctx, desired)
		var paused nginx.PausedError
		if errors.As(err, &paused) { // not a revision that failed: it is applied when the pause ends
			if rerr := n.State.Report(ctx, MethodNginxConfig, c.Subject.Domain, untouched(ctx, n)); rerr != nil {
				n.Log.Warn("could not report", "error", rerr)
			}
			return Result{}, fleet.Errorf(fleet.Paused, "revision %d waits: %s; `fairlead resume %s` ends the pause", desired.Revision, line(paused.Error()), n.Name)
		}
		// Its own time over is an outcome to report; the end of the agent is not.
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			ctx := context.WithoutCancel(ctx)
			report := reported(ctx, n, desired, outcome, err)
			if rerr := n.State.Report(ctx, MethodNginxConfig, c.Subject.Domain, report); rerr != nil {
				n.Log.Warn("could not report", "error", rerr)
			}
		}
		if err == nil && !outcome.Whole() {
			err = fleet.Errorf(fleet.Failed, "%s", outcome.Summary())
		}
		if err != nil {
			return Result{}, err
		}
		message := fmt.Sprintf("revision %d serves", desired.Revision)
		if !outcome.Changed {
			message = fmt.Sprintf("revision %d served already", desired.Revision)
		}
		if len(outcome.Notes) > 0 {
			message += ", but " + strings.Join(outcome.Notes, "; ")
		}
		return Result{Changed: outcome.Changed, Message: message, Data: outcome.Verdict}, nil
	},
})

// In a cluster the replica that answers a read may be behind the one that told
// of the revision, for less than this.
const (
	lagTime = 2 * time.Second
	lagLook = 100 * time.Millisecond
)

func desiredNginx(ctx context.Context, n *Node, domain string) (nginx.Desired, error) {
	body, err := n.State.Desired(ctx, MethodNginxConfig, domain)
	if err != nil {
		return nginx.Desired{}, err
	}
	var desired nginx.Desired
	if err := json.Unmarshal(body, &desired); err != nil {
		return desired, fleet.Errorf(fleet.Invalid, "desired state of %s: %w", domain, err)
	}
	return desired, nil
}

// mostHosts bounds a report; a thousand resources take some 70 KB.
const mostHosts = 2000

// untouched is the report of a node that leaves nginx as it is.
func untouched(ctx context.Context, n *Node) Reported {
	r := reported(ctx, n, nginx.Desired{}, nginx.Outcome{}, errors.New("paused"))
	r.Revision, r.Status, r.Message = r.ObservedRevision, StatusApplied, ""
	return r
}

// reported is made from what nginx is, not from what was meant.
func reported(ctx context.Context, n *Node, desired nginx.Desired, outcome nginx.Outcome, failure error) Reported {
	r := Reported{Revision: desired.Revision, Status: StatusApplied, At: time.Now().UTC()}
	switch {
	case failure != nil:
		r.Status, r.Message = StatusFailed, failure.Error()
	case !outcome.Whole():
		r.Status, r.Message = StatusPartial, outcome.Summary()
	}
	r.Hosts = outcome.Held()
	for _, h := range outcome.Resources {
		if h.State == nginx.Serving {
			r.Hosts = append(r.Hosts, h)
		}
	}
	r.Hosts = r.Hosts[:min(len(r.Hosts), mostHosts)]
	status, err := n.Nginx.Status(ctx)
	if err != nil {
		n.Log.Warn("could not ask nginx", "error", err)
		return r
	}
	r.RunningDigest, r.Certificates = status.Running, status.Certificates
	r.Drift, r.Paused = status.Drift, status.Paused
	r.DiskDigest, r.Bake, r.Quarantine = status.Disk, status.Bake, status.Quarantine
	r.ObservedRevision, r.Digest = status.Whole, status.Running
	if r.Status == StatusApplied {
		r.ObservedRevision, r.Digest = outcome.Revision, outcome.Digest
	}
	return r
}
