package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// TrustFile is where the tenant's newest signed trust set lies: what nodes and
// stations are given, and people may lay beside their credentials.
func (a *Authority) TrustFile() string { return a.in("trust.json") }

// TrustSet is the tenant's signed trust set: all users but nodes, and whose key
// was taken back. It is signed anew, as the next version, where it is another
// than TrustFile has.
func (a *Authority) TrustSet() (message.Message, error) {
	return a.Distrust()
}

// Distrust is TrustSet after keys were taken back, each as of a moment, now
// where none is given: what was stored since is not believed. A key that was
// taken back already is so as of the earlier moment. Brokers hear nothing of
// it: Revoke is for those too.
func (a *Authority) Distrust(keys ...message.RevokedKey) (message.Message, error) {
	unlock, err := a.hold()
	if err != nil {
		return message.Message{}, err
	}
	defer unlock()
	if err := a.updateTrust(keys...); err != nil {
		return message.Message{}, err
	}
	return LoadTrust(a.TrustFile())
}

// updateTrust writes the next version of the trust set where it is another than
// the last. The directory is locked.
func (a *Authority) updateTrust(revoked ...message.RevokedKey) error {
	next, err := a.nextTrust(revoked...)
	if err != nil || next.data == nil {
		return err
	}
	return a.writeTrust(next)
}

// nextTrust makes and signs the next version of the trust set and writes
// nothing: what cannot be is known before anything was changed. It is zero
// where nothing is another.
func (a *Authority) nextTrust(revoked ...message.RevokedKey) (signed signedTrust, err error) {
	keys, last, err := a.openTrust()
	if err != nil {
		return signed, err
	}
	lists, err := a.revokedLists(last)
	if err != nil {
		return signed, err
	}
	set, err := a.trustSet(last, lists, revoked)
	if err != nil {
		return signed, err
	}
	if set.Signers = keys.public(); len(set.Signers) == 0 {
		set.Signers = last.Signers // whose seeds are kept elsewhere
	}
	if laid, _ := layOut(set, lists); laid.SameContent(last) {
		return signed, nil
	}
	a.prune(&set)
	set, signed.lists = layOut(set, lists)
	return signed, a.signTrust(&signed, set, last, keys.now)
}

// signedTrust is a trust set and its lists of revoked nodes, as files hold them.
type signedTrust struct {
	data  []byte
	lists [][]byte
	names []string // of all lists that the set names
}

// RotateTrust makes a new key to sign trust sets with, beside the old one. Once
// nodes and stations have heard that set, finish has the old key signed away:
// the version that drops it is the last that it signs, so that who was away
// meanwhile can follow from any version before.
func (a *Authority) RotateTrust(finish bool) (message.Message, error) {
	unlock, err := lock(a.dir)
	if err != nil {
		return message.Message{}, err
	}
	defer unlock()
	keys, _, err := a.openTrust()
	if err != nil {
		return message.Message{}, err
	}
	switch {
	case !finish && keys.next.public == "":
		keys.next, err = a.vault.makeKey(a.in(nextTrustSeed), nkeys.PrefixByteUser)
	case finish && keys.next.public == "":
		err = fleet.Errorf(fleet.Conflict, "the key that signs trust sets does not rotate: there is no new one")
	}
	if err == nil {
		err = a.updateTrust() // both keys are in it
	}
	if err == nil && finish {
		err = a.dropSigner(keys)
	}
	if err != nil {
		return message.Message{}, err
	}
	return LoadTrust(a.TrustFile())
}

// dropSigner writes a set that names the new signer alone. Where it is cut off
// before the seed has its new name, openTrust goes on.
func (a *Authority) dropSigner(keys trustKeys) error {
	last, err := a.lastTrust()
	if err != nil {
		return err
	}
	set := last
	set.Signers = []string{keys.next.public}
	var signed signedTrust
	if err := a.signTrust(&signed, set, last, keys.now); err != nil {
		return err
	}
	if err := a.writeTrust(signed); err != nil {
		return err
	}
	_, _, err = a.openTrust()
	return err
}

// Files of the keys that sign trust sets. The second is there while they change.
const (
	trustSeed     = "trust.seed"
	nextTrustSeed = "trust" + nextSuffix
)

// trustKeys are the key that signs the next trust set, and the one that will
// take its place, without a public half where there is none.
type trustKeys struct{ now, next key }

func (k trustKeys) public() (all []string) {
	for _, key := range []key{k.now, k.next} {
		if key.public != "" {
			all = append(all, key.public)
		}
	}
	return all
}

// openTrust finds the keys that sign, and the last trust set, zero where there
// is none.
func (a *Authority) openTrust() (keys trustKeys, last message.TrustSet, err error) {
	if last, err = a.lastTrust(); err != nil {
		return keys, last, err
	}
	if keys.now, err = a.openTrustKey(); err != nil {
		return keys, last, err
	}
	if keys.next, err = a.vault.findKey(a.in(nextTrustSeed), nkeys.PrefixByteUser); err != nil {
		return keys, last, err
	}
	switch knows := func(k key) bool { return slices.Contains(last.Signers, k.public) }; {
	case last.Version == 0 || keys.now.public == "" || knows(keys.now):
	case knows(keys.next):
		keys.now, err = a.moveKey(keys.next, a.in(trustSeed))
		keys.next = key{}
	default:
		err = fmt.Errorf("%s does not belong to the seeds beside it: restore all of them from one backup", a.TrustFile())
	}
	a.trustKey = keys.now
	return keys, last, err
}

func (a *Authority) lastTrust() (message.TrustSet, error) {
	m, err := LoadTrust(a.TrustFile())
	if errors.Is(err, fs.ErrNotExist) {
		return message.TrustSet{}, nil
	}
	if err != nil {
		return message.TrustSet{}, err
	}
	return message.OpenTrust(m)
}

func (a *Authority) signTrust(signed *signedTrust, set, last message.TrustSet, signer key) error {
	set.Version, set.IssuedAt = last.Version+1, a.options.Now().UTC().Truncate(time.Second)
	m, err := message.SignTrust(set, keySigner{signer})
	if err != nil {
		return fmt.Errorf("sign trust set %d: %w", set.Version, err)
	}
	signed.names = set.RevokedNodes
	signed.data, err = message.EncodeTrust(m)
	return err
}

// writeTrust writes the lists before the set that names them, and removes those
// of the set before it last.
func (a *Authority) writeTrust(signed signedTrust) error {
	for _, body := range signed.lists {
		if err := rewrite(a.revokedFile(message.HashRevoked(body)), body); err != nil {
			return err
		}
	}
	if err := writeFile(a.TrustFile(), signed.data); err != nil {
		return err
	}
	return a.dropLists(signed.names)
}

// keySigner signs messages with a key of the directory.
type keySigner struct{ key }

// PublicKey is the key's, as package message asks for it.
func (s keySigner) PublicKey() string { return s.public }

// Sign opens the seed.
func (s keySigner) Sign(data []byte) ([]byte, error) {
	pair, err := s.open()
	if err != nil {
		return nil, err
	}
	return pair.Sign(data)
}

// trustSet is what the next set has to say, without version, time and signers,
// and with the keys of nodes among the revoked ones: layOut puts them into lists.
func (a *Authority) trustSet(last message.TrustSet, lists [][]message.RevokedKey, revoked []message.RevokedKey) (message.TrustSet, error) {
	set := message.TrustSet{Account: a.account.public, Issuers: a.issuers(), MaxNodes: a.MaxNodes(),
		Authorities: string(encodeCertificates(a.brokers.chain...)), Dropped: a.dropped(last),
		Keys: []message.TrustedKey{}, Revoked: slices.Concat(last.Revoked, slices.Concat(lists...))}
	var err error
	if set.Curve, err = a.curve(); err != nil {
		return set, err
	}
	users, faults := a.trusted()
	gone := make(map[string]bool)
	place := make(map[string]int)
	for i, k := range set.Revoked {
		gone[k.Key], place[k.Key] = true, i
	}
	for _, k := range revoked {
		k = a.complete(k, users, last)
		i, there := place[k.Key]
		switch {
		case !there:
			gone[k.Key], place[k.Key] = true, len(set.Revoked)
			set.Revoked = append(set.Revoked, k)
		case k.At.Before(set.Revoked[i].At):
			set.Revoked[i].At = k.At
		}
	}
	here := make(map[string]bool)
	for _, u := range users {
		here[u.Key] = true
		if slices.Contains(subjects.Senders(), u.Role) && !gone[u.Key] {
			set.Keys = append(set.Keys, a.trustedKey(u))
		}
	}
	for _, k := range last.Keys {
		switch {
		case here[k.Key] || gone[k.Key]:
		case faults != nil: // it may be one that could not be read
			set.Keys = append(set.Keys, k)
		default:
			set.Revoked = append(set.Revoked, a.complete(message.RevokedKey{Key: k.Key, Reason: "the user was removed"}, users, last))
		}
	}
	return set, nil
}

// dropped are the hashes of the authorities of brokers that were believed once
// and are no more.
func (a *Authority) dropped(last message.TrustSet) (all []string) {
	before, _ := parseChain([]byte(last.Authorities)) // none where there were none
	were := slices.Clone(last.Dropped)
	for _, c := range before {
		were = append(were, hashOf(c))
	}
	for _, hash := range were {
		here := slices.ContainsFunc(a.brokers.chain, func(c *x509.Certificate) bool { return hashOf(c) == hash })
		if !here && !slices.Contains(all, hash) {
			all = append(all, hash)
		}
	}
	return all
}

func hashOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// prune drops who was taken back, has no JWT any more, and of whom nothing
// stands: a node, and a person who may write no resource. A key that is neither
// trusted nor revoked is not believed either; the audit may ask for it longer.
// Who is in the directory still stays, or would be trusted again; so does who is
// in the account's revocations still, which are pruned by this.
func (a *Authority) prune(set *message.TrustSet) {
	long := subjects.MaxCommandAge + subjects.DefaultSettings().AuditAge
	users, err := a.trusted()
	if err != nil {
		return // a file that cannot be read may be anybody's
	}
	set.Revoked = slices.DeleteFunc(set.Revoked, func(k message.RevokedKey) bool {
		writes := k.Role == subjects.Admin || k.Role == subjects.Station || k.Role == subjects.Operator && len(k.Nodes) == 0
		_, barred := a.tenant.Revocations[k.Key]
		here := slices.ContainsFunc(users, func(u User) bool { return u.Key == k.Key })
		return !writes && !barred && !here && !k.Expires.IsZero() && a.options.Now().After(k.Expires.Add(long))
	})
}

// complete fills what is known of a key that is taken back: name, role, limits,
// the end of its JWT, and now where no time is given. A node's name stays here.
func (a *Authority) complete(k message.RevokedKey, users []User, last message.TrustSet) message.RevokedKey {
	if k.At.IsZero() {
		k.At = a.options.Now()
	}
	k.At = k.At.UTC().Truncate(time.Millisecond)
	for _, u := range users {
		if u.Key == k.Key {
			t := a.trustedKey(u)
			k.Name, k.Role, k.Methods, k.Nodes, k.Expires = t.Name, t.Role, t.Methods, t.Nodes, u.Expires
		}
	}
	for _, t := range last.Keys {
		if t.Key == k.Key {
			k.Name, k.Role, k.Methods, k.Nodes = t.Name, t.Role, t.Methods, t.Nodes
			k.Expires = later(k.Expires, t.Until)
		}
	}
	if k.Role == subjects.Node {
		k.Name, k.Expires = "", later(k.Expires, a.options.Now().Add(goneAfter).UTC().Truncate(time.Second))
	}
	return k
}

// goneAfter is when the last JWT of a node ends that was issued just now: the
// one that may renew holds twice as long as the other.
const goneAfter = 2 * NodeLife

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// trustedKey is what nodes and stations are told of a user. A person is trusted
// for as long as the JWT holds; a station's JWT the broker judges alone, since a
// fleet must not stand still where the trust set is late.
func (a *Authority) trustedKey(u User) message.TrustedKey {
	k := message.TrustedKey{Key: u.Key, Name: u.Name, Role: u.Role, Methods: a.sentBy(u)}
	for _, node := range u.Nodes {
		k.Nodes = append(k.Nodes, message.HashNode(a.account.public, node))
	}
	if u.Role != subjects.Station {
		k.Until = u.Expires
	}
	return k
}

// LoadTrust reads a file with a signed trust set. One that is missing is
// Invalid and os.ErrNotExist.
func LoadTrust(path string) (message.Message, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return message.Message{}, fleet.Errorf(fleet.Invalid, "read whom to trust: %w", err)
	}
	m, err := message.DecodeTrust(data)
	if err != nil {
		return m, fmt.Errorf("whom to trust, %s: %w", path, err)
	}
	return m, nil
}
