package station

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Private keys of certificates and hashes of passwords come sealed to the
// stations and go on sealed to one node each. They are in the clear only here,
// in memory, while a node's desired state is written.

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

// ResealQuestion asks for what a resource holds, that is sealed to a curve key which
// the stations had before, to be sealed to the one that they have now. Who asks
// learns nothing of it.
type ResealQuestion struct {
	Resource fleet.Resource `json:"resource"` // as it was stored
}

// ResealAnswer is what to store instead.
type ResealAnswer struct {
	Resource fleet.Resource `json:"resource"`
}

func (s *Station) answerReseal(_ context.Context, q ResealQuestion) (ResealAnswer, error) {
	r := q.Resource
	if err := r.Validate().Err(); err != nil || len(fleet.SealedTo(r.Spec)) == 0 {
		return ResealAnswer{}, fleet.Errorf(fleet.Invalid, "it is nothing sealed as it is stored: %w", err)
	}
	secrets := s.secrets()
	defer secrets.forget()
	to := s.cfg.Curve.Named(s.trust.Current().Curve).Public()
	var err error
	switch spec := r.Spec.(type) {
	case *fleet.Certificate:
		r.Spec, err = secrets.certificate("", to, *spec)
	case *fleet.VirtualHost:
		r.Spec = spec.WithBasicAuth(func(_ string, b *fleet.BasicAuth) {
			if b.SealedTo != "" && err == nil {
				err = secrets.resealUsers(to, b)
			}
		})
	}
	return ResealAnswer{r}, err
}

// resealUsers seals each hash of a list to the stations' curve key of now.
func (s *secrets) resealUsers(to string, b *fleet.BasicAuth) error {
	for i, u := range b.Users {
		secret, err := s.hash(u)
		if err == nil {
			b.Users[i].SealedHash, err = message.Seal(secret, to)
		}
		if err != nil {
			return err
		}
	}
	b.SealedTo = to
	return nil
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
	r.mu.RLock()
	facts := r.factsOf(&n)
	r.mu.RUnlock()
	if facts == nil {
		return ""
	}
	return facts.Curve
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
		err = message.VerifyEvent(&m, e.At, node.keyAt(m.Key, e.At), r.station.trust.Find)
	}
	if err != nil {
		return err
	}
	return r.tellFacts(node.Name, m.Body)
}

// hasSecrets reports whether something among resources is sealed.
func hasSecrets(resources []fleet.Resource) bool {
	return slices.ContainsFunc(resources, func(r fleet.Resource) bool { return len(fleet.SealedTo(r.Spec)) > 0 })
}

// secrets opens what is sealed to the stations, each once while one change is
// compiled.
type secrets struct {
	curve  message.StationCurve
	opened map[string][]byte // by how they are sealed
}

func (s *Station) secrets() *secrets { return &secrets{s.cfg.Curve, make(map[string][]byte)} }

// forget overwrites what was opened.
func (s *secrets) forget() {
	for _, secret := range s.opened {
		clear(secret)
	}
	clear(s.opened)
}

// forNode are resources as one node may have them: with private keys and hashes
// sealed to that node: those that it had and that are the same stay as they were sealed.
// The faults name those that it cannot have, and why.
func (s *secrets) forNode(node, curve string, resources []fleet.Resource, had map[string]fleet.Resource) ([]fleet.Resource, error) {
	var faults fleet.Faults
	own := make([]fleet.Resource, len(resources))
	for i, r := range resources {
		fault := func(path string, err error) {
			if err != nil {
				faults = append(faults, fleet.Fault{Subject: r.ID(), Path: path, Message: err.Error()})
			}
		}
		if old, there := had[r.ID()]; there && len(fleet.SealedTo(r.Spec)) > 0 && sealedTo(old, curve) && alike(old, r) {
			own[i] = old
			continue
		}
		switch spec := r.Spec.(type) {
		case *fleet.Certificate:
			sealed, err := s.certificate(node, curve, *spec)
			fault("spec.sealedKey", err)
			r.Spec = sealed
		case *fleet.VirtualHost:
			if len(fleet.SealedTo(spec)) > 0 {
				r.Spec = spec.WithBasicAuth(func(at string, b *fleet.BasicAuth) { fault(at, s.users(node, curve, b)) })
			}
		}
		own[i] = r
	}
	return own, faults.Err()
}

// sealedTo reports whether all that is sealed in a resource is sealed to a curve key.
func sealedTo(r fleet.Resource, curve string) bool {
	return !slices.ContainsFunc(fleet.SealedTo(r.Spec), func(to string) bool { return to != curve })
}

// alike reports whether two resources are the same, whoever their secrets are sealed to.
func alike(a, b fleet.Resource) bool {
	x, _ := json.Marshal(fleet.Shown(a)) // of plain fields: cannot fail
	y, _ := json.Marshal(fleet.Shown(b))
	return string(x) == string(y)
}

func (s *secrets) certificate(node, curve string, c fleet.Certificate) (*fleet.Certificate, error) {
	key, err := s.open(c.SealedKey, "apply the certificate with its keyFile again", func(key []byte) error {
		chain, err := c.Chain()
		if err == nil {
			err = fleet.CheckKey(chain[0], key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.SealedKey, err = sealTo(node, curve, key)
	c.SealedTo = curve
	return &c, err
}

// users seals the hashes of a list together, a line for each user: one seal for
// each node is dear enough. A list that an older version stored in the clear
// stays as it is.
func (s *secrets) users(node, curve string, b *fleet.BasicAuth) error {
	if b.SealedTo == "" {
		return nil
	}
	var all [][]byte
	for i, u := range b.Users {
		secret, err := s.hash(u)
		if err != nil {
			return err
		}
		all = append(all, secret)
		b.Users[i].SealedHash = ""
	}
	lines := bytes.Join(all, []byte("\n"))
	defer clear(lines)
	sealed, err := sealTo(node, curve, lines)
	b.SealedUsers, b.SealedTo = sealed, curve
	return err
}

// hash opens what is sealed of a user's hash.
func (s *secrets) hash(u fleet.User) ([]byte, error) {
	secret, err := s.open(u.SealedHash, "apply the host with the hash again", func(secret []byte) error {
		_, err := fleet.HashOf(u.Fingerprint, secret)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("password of %s: %w", u.Name, err)
	}
	return secret, nil
}

func sealTo(node, curve string, secret []byte) (string, error) {
	if curve == "" {
		return "", fleet.Errorf(fleet.Unavailable, "%s has not said yet which key to seal it to: it does when its agent connects next", node)
	}
	return message.Seal(secret, curve)
}

// open opens what is sealed, once, and has it checked; again is what to do where
// it cannot. The node checks it for itself.
func (s *secrets) open(sealed, again string, check func(secret []byte) error) ([]byte, error) {
	if secret, ok := s.opened[sealed]; ok {
		return secret, nil
	}
	if s.curve.Public() == "" {
		return nil, fleet.Errorf(fleet.Unavailable, "the station has no key to open it: start it with --keys station.keys")
	}
	secret, err := s.curve.Open(sealed)
	if err != nil {
		return nil, fleet.Errorf(fleet.Refused, "the station cannot open it: %w: %s", err, again)
	}
	if err := check(secret); err != nil {
		clear(secret)
		return nil, fleet.Errorf(fleet.Invalid, "what is sealed %w", err)
	}
	s.opened[sealed] = secret
	return secret, nil
}
