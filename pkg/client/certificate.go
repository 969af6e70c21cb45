package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// ExpiresSoon is how long before its end a certificate is warned about.
const ExpiresSoon = station.ExpiresSoon

// sealed is a set as it is to be stored: files read, private keys and hashes of
// passwords sealed to the stations. What is stored already stays as it was
// sealed, since nothing is sealed twice alike. The error is fleet.Faults with
// file and line.
func (c *Client) sealed(ctx context.Context, set manifest.Set, now stored) ([]fleet.Resource, station.CurveAnswer, error) {
	var curve station.CurveAnswer
	set, err := set.ReadFiles()
	if err != nil {
		return nil, curve, err
	}
	resources := set.Resources()
	var faults fleet.Faults
	for i, r := range resources {
		if !holdsSecrets(r.Spec) {
			continue
		}
		if curve.Key == "" {
			if curve, err = c.curve(ctx); err != nil {
				return nil, curve, fmt.Errorf("%s: %w", r.ID(), err)
			}
		}
		have, key := now.resources[r.ID()].Spec, set.Key(r.ID())
		spec, found, err := seal(r, have, key, curve.Key)
		if len(found) > 0 && sealedToOther(r.Spec, curve.Key) { // it is of long ago
			if r, err = c.reseal(ctx, r, curve.Key); err != nil {
				return nil, curve, fmt.Errorf("%s: %w", r.ID(), err)
			}
			spec, found, err = seal(r, have, key, curve.Key)
		}
		if err != nil {
			return nil, curve, fmt.Errorf("%s: %w", r.ID(), err)
		}
		resources[i].Spec = spec
		faults = append(faults, found...)
	}
	return resources, curve, set.Locate(faults).Err()
}

// holdsSecrets reports whether something of a resource is to be sealed.
func holdsSecrets(s fleet.Spec) bool {
	h, host := s.(*fleet.VirtualHost)
	_, certificate := s.(*fleet.Certificate)
	return certificate || host && len(h.BasicAuths()) > 0
}

// seal is a resource's spec as it is to be stored; have is what is stored of it,
// nil for nothing, and key a certificate's private key, nil for none.
func seal(r fleet.Resource, have fleet.Spec, key []byte, to string) (fleet.Spec, fleet.Faults, error) {
	var faults fleet.Faults
	if h, ok := r.Spec.(*fleet.VirtualHost); ok {
		before, _ := have.(*fleet.VirtualHost)
		sealed, found, err := sealHost(h, before, to)
		for i := range found {
			found[i].Subject = r.ID()
		}
		return sealed, found, err
	}
	before, _ := have.(*fleet.Certificate)
	sealed, problem, err := sealCertificate(*r.Spec.(*fleet.Certificate), before, key, to)
	if problem != "" {
		faults = append(faults, fleet.Fault{Subject: r.ID(), Path: "spec.keyFile", Message: problem})
	}
	return &sealed, faults, err
}

// sealCertificate completes a certificate by what is stored of it, nil for
// nothing, or by its private key, nil for none.
func sealCertificate(c fleet.Certificate, have *fleet.Certificate, key []byte, to string) (_ fleet.Certificate, problem string, err error) {
	known := have != nil && have.Fingerprint == c.Fingerprint && have.SealedTo == to
	switch {
	case c.Stored() && c.SealedTo == to:
		return c, "", nil
	case known:
		c.SealedKey, c.SealedTo = have.SealedKey, to
		return c, "", nil
	case key == nil && have == nil:
		return c, "is missing: no key of this certificate is stored", nil
	case key == nil:
		return c, "is missing: the key that is stored is another one, or the stations can not open it any more", nil
	}
	c.SealedKey, err = message.Seal(key, to)
	c.SealedTo = to
	return c, "", err
}

// sealedToOther reports whether something is sealed to another curve key.
func sealedToOther(s fleet.Spec, curve string) bool {
	return slices.ContainsFunc(fleet.SealedTo(s), func(to string) bool { return to != curve })
}

// reseal has a station seal what a resource holds, that was sealed to a curve key
// which it had before, to the one that it has now.
func (c *Client) reseal(ctx context.Context, r fleet.Resource, to string) (fleet.Resource, error) {
	answer, err := ask[station.ResealAnswer](ctx, c, station.QueryReseal, station.ResealQuestion{Resource: r})
	switch {
	case err != nil:
		return r, err
	case sealedToOther(answer.Resource.Spec, to):
		return r, fleet.Errorf(fleet.Refused, "the station sealed it to another curve key than is told to people: nothing is stored")
	case !same(fleet.Shown(r), fleet.Shown(answer.Resource)):
		return r, fleet.Errorf(fleet.Refused, "the station made it another resource: nothing is stored")
	}
	return answer.Resource, nil
}

// curve is the public key that secrets are sealed to, proven to be that of the
// stations of the user's account.
func (c *Client) curve(ctx context.Context) (station.CurveAnswer, error) {
	owner, ok := c.creds.(interface{ AccountKey() string })
	if !ok {
		return station.CurveAnswer{}, fleet.Errorf(fleet.Internal, "the credentials do not say which account they are of")
	}
	answer, err := ask[station.CurveAnswer](ctx, c, station.QueryCurve, station.CurveQuestion{})
	if err != nil {
		return answer, err
	}
	if pinned := c.pinnedCurve(ctx); pinned != "" && answer.Key != pinned {
		return answer, fleet.Errorf(fleet.Refused, "the stations' curve key is not the one in your trust.json: "+
			"get the newest trust.json from who makes credentials, or find out who answers in the stations' name")
	}
	return answer, message.CheckVoucher(owner.AccountKey(), answer.Key, answer.Voucher)
}

// NodesWith are the nodes whose desired state holds resources of a kind, by
// the resources' names; both in order.
func (c *Client) NodesWith(ctx context.Context, kind string) (map[string][]string, error) {
	nodes := make(map[string][]string)
	err := c.conn.Entries(ctx, subjects.Desired, subjects.StateKey("*", handlers.MethodNginxConfig, "*"), func(e bus.Entry) error {
		name, _, _ := strings.Cut(e.Key, ".")
		s, err := readDesired(e)
		if err != nil {
			return nil // stations write it anew
		}
		d, err := c.whole(ctx, name, s)
		if err != nil {
			c.log.Warn("ignored a desired state", "key", e.Key, "error", err)
			return ctx.Err()
		}
		for _, r := range d.Resources {
			if r.Kind == kind {
				nodes[r.Metadata.Name] = append(nodes[r.Metadata.Name], name)
			}
		}
		return nil
	})
	for _, names := range nodes {
		slices.Sort(names)
	}
	return nodes, err
}

// timeFault is why a certificate that a plan stores may not be served at a
// moment; soon says that it will not be for long.
func timeFault(set manifest.Set, r fleet.Resource, now time.Time) (fault *fleet.Fault, soon string) {
	spec, ok := r.Spec.(*fleet.Certificate)
	if !ok {
		return nil, ""
	}
	if problem := spec.TimeProblem(now); problem != "" {
		path := "spec.certificate"
		if d, found := set.Find(r.ID()); found && d.Resource.Spec.(*fleet.Certificate).CertificateFile != "" {
			path = "spec.certificateFile"
		}
		return &fleet.Fault{Subject: r.ID(), Path: path, Message: problem}, ""
	}
	chain, err := spec.Chain()
	if left := chain[0].NotAfter.Sub(now); err == nil && left < ExpiresSoon {
		soon = fmt.Sprintf("%s expires in %d days, on %s: renew it", r.ID(), int(left.Hours()/24), chain[0].NotAfter.UTC().Format(time.DateOnly))
	}
	return nil, soon
}
