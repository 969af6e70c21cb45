package station

import (
	"context"
	"slices"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Private keys of certificates come sealed to the stations and go on sealed to
// one node each. They are in the clear only here, in memory, while a node's
// desired state is written.

// CurveQuestion asks for the key that secrets are sealed to.
type CurveQuestion struct{}

// CurveAnswer gives it, and the account's word that it is the stations'.
type CurveAnswer struct {
	Key     string    `json:"key"`
	Account string    `json:"account"`
	Voucher string    `json:"voucher"`
	Now     time.Time `json:"now"` // the broker's clock
}

func (s *Station) answerCurve(context.Context, CurveQuestion) (CurveAnswer, error) {
	// The one that people pin: a trust set may come later than the key.
	c := s.cfg.Curve.Named(s.trust.Current().Curve)
	if c.Public() == "" {
		return CurveAnswer{}, fleet.Errorf(fleet.Unavailable, "the station has no key to seal secrets to: start it with --keys station.keys")
	}
	return CurveAnswer{c.Public(), c.Account, c.Voucher, s.clock.Now()}, nil
}

// ResealQuestion asks for a certificate's key, that is sealed to a curve key which
// the stations had before, to be sealed to the one that they have now. Who asks
// learns nothing of it.
type ResealQuestion struct {
	Certificate fleet.Certificate `json:"certificate"`
}

// ResealAnswer is what to store instead.
type ResealAnswer struct {
	SealedKey string `json:"sealedKey"`
	SealedTo  string `json:"sealedTo"`
}

func (s *Station) answerReseal(_ context.Context, q ResealQuestion) (ResealAnswer, error) {
	if err := q.Certificate.Validate().Err(); err != nil || !q.Certificate.Stored() {
		return ResealAnswer{}, fleet.Errorf(fleet.Invalid, "it is no certificate as it is stored: %w", err)
	}
	secrets := s.secrets()
	defer secrets.forget()
	key, err := secrets.open(q.Certificate)
	if err != nil {
		return ResealAnswer{}, err
	}
	to := s.cfg.Curve.Named(s.trust.Current().Curve).Public()
	sealed, err := message.Seal(key, to)
	return ResealAnswer{sealed, to}, err
}

// curve is the key that secrets for a node are sealed to, "" while the node
// has not said it. What it said before it was registered nobody could prove
// then, so that is looked up.
func (r *register) curve(ctx context.Context, name string) string {
	n := r.get(name)
	if n.facts == nil && n.record.Key != "" {
		if err := r.lookUpFacts(ctx, n.record); err != nil {
			r.station.log.Warn("ignored a report", "node", name, "error", err)
		}
		n = r.get(name)
	}
	if n.facts == nil {
		return ""
	}
	return n.facts.Curve
}

func (r *register) lookUpFacts(ctx context.Context, node NodeRecord) error {
	e, err := r.station.conn.Get(ctx, subjects.Reported, subjects.StateKey(node.Name, subjects.MethodLifecycle, message.LifecycleDomain))
	if fleet.KindOf(err) == fleet.Unknown {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := e.Message(message.ReportedSubject(node.Name, subjects.MethodLifecycle, message.LifecycleDomain))
	if err == nil {
		err = message.VerifyEvent(m, e.At, node.keyAt(m.Key, e.At), r.station.trust.Find)
	}
	if err != nil {
		return err
	}
	return r.tellFacts(node.Name, e.Body)
}

// hasSecrets reports whether something among resources is sealed.
func hasSecrets(resources []fleet.Resource) bool {
	return slices.ContainsFunc(resources, func(r fleet.Resource) bool { return r.Kind == "Certificate" })
}

// outdated reports whether a node's desired state holds a secret that was
// sealed to another key than the node has now.
func outdated(resources []fleet.Resource, curve string) bool {
	for _, r := range resources {
		if c, ok := r.Spec.(*fleet.Certificate); ok && c.SealedTo != curve && curve != "" {
			return true
		}
	}
	return false
}

// secrets opens what is sealed to the stations, each once while one change is
// compiled.
type secrets struct {
	curve message.StationCurve
	keys  map[string][]byte // by how they are sealed
}

func (s *Station) secrets() *secrets { return &secrets{s.cfg.Curve, make(map[string][]byte)} }

// forget overwrites what was opened.
func (s *secrets) forget() {
	for _, key := range s.keys {
		clear(key)
	}
	clear(s.keys)
}

// forNode are resources as one node may have them: with private keys sealed to
// that node. The faults name the certificates that it cannot have, and why.
func (s *secrets) forNode(node, curve string, resources []fleet.Resource) ([]fleet.Resource, error) {
	var faults fleet.Faults
	own := make([]fleet.Resource, len(resources))
	for i, r := range resources {
		if c, ok := r.Spec.(*fleet.Certificate); ok {
			sealed, err := s.sealed(node, curve, *c)
			if err != nil {
				faults = append(faults, fleet.Fault{Subject: r.ID(), Path: "spec.sealedKey", Message: err.Error()})
			}
			r.Spec = sealed
		}
		own[i] = r
	}
	return own, faults.Err()
}

func (s *secrets) sealed(node, curve string, c fleet.Certificate) (*fleet.Certificate, error) {
	if curve == "" {
		return nil, fleet.Errorf(fleet.Unavailable, "%s has not said yet which key to seal it to: it does when its agent connects next", node)
	}
	key, err := s.open(c)
	if err != nil {
		return nil, err
	}
	if c.SealedKey, err = message.Seal(key, curve); err != nil {
		return nil, err
	}
	c.SealedTo = curve
	return &c, nil
}

func (s *secrets) open(c fleet.Certificate) ([]byte, error) {
	if key, ok := s.keys[c.SealedKey]; ok {
		return key, nil
	}
	if s.curve.Public() == "" {
		return nil, fleet.Errorf(fleet.Unavailable, "the station has no key to open it: start it with --keys station.keys")
	}
	key, err := s.curve.Open(c.SealedKey)
	if err != nil {
		return nil, fleet.Errorf(fleet.Refused, "the station cannot open it: %w: apply the certificate with its keyFile again", err)
	}
	chain, err := c.Chain()
	if err == nil {
		err = fleet.CheckKey(chain[0], key)
	}
	if err != nil {
		clear(key)
		return nil, fleet.Errorf(fleet.Invalid, "what is sealed %w", err)
	}
	s.keys[c.SealedKey] = key
	return key, nil
}
