package message_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// trustee is who signs trust sets, and the set that it last signed.
type trustee struct {
	signer
	set message.TrustSet
}

// newTrustee has a set in which alice, an administrator, is trusted.
func newTrustee(t *testing.T, alice signer) *trustee {
	t.Helper()
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public, err := account.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	by := newSigner(t)
	return &trustee{by, message.TrustSet{Version: 1, Account: public, IssuedAt: stored, Signers: []string{by.public}, Issuers: []string{public},
		Keys: []message.TrustedKey{{Key: alice.public, Name: "alice", Role: subjects.Admin, Methods: []string{"*"}}}}}
}

// next signs the set, changed, as its next version.
func (e *trustee) next(t *testing.T, change func(*message.TrustSet)) message.Message {
	t.Helper()
	e.set.Version++
	e.set.Keys = slices.Clone(e.set.Keys)
	if change != nil {
		change(&e.set)
	}
	return e.sign(t, e.signer)
}

func (e *trustee) sign(t *testing.T, by signer) message.Message {
	t.Helper()
	m, err := message.SignTrust(e.set, by)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func opened(t *testing.T, m message.Message) message.TrustSet {
	t.Helper()
	set, err := message.OpenTrust(m)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestATrustSetFollowsTheOneBeforeIt(t *testing.T) {
	e := newTrustee(t, newSigner(t))
	first := opened(t, e.sign(t, e.signer))
	third := e.next(t, func(s *message.TrustSet) { s.Version = 3 })
	set, err := first.Accept(third)
	if err != nil || set.Version != 3 {
		t.Fatal(set, err)
	}
	mallory := newTrustee(t, newSigner(t))
	forged := func(change func(*message.TrustSet)) message.Message {
		mallory.set.Account, mallory.set.Version = first.Account, 3
		return mallory.next(t, change)
	}
	for name, test := range map[string]struct {
		offered message.Message
		kind    fleet.Kind
		reason  string
	}{
		"the same":               {third, fleet.Conflict, "trust set 3 is not newer than trust set 3"},
		"an older one":           {e.next(t, func(s *message.TrustSet) { s.Version = 2 }), fleet.Conflict, "trust set 2 is not newer than trust set 3"},
		"a stranger's":           {forged(nil), fleet.Refused, "which trust set 3 does not name as a signer"},
		"one that names another": {forged(func(s *message.TrustSet) { s.Signers = append(s.Signers, e.public) }), fleet.Refused, "which trust set 3 does not name as a signer"},
		"another account's":      {newTrustee(t, newSigner(t)).next(t, func(s *message.TrustSet) { s.Version = 4 }), fleet.Refused, "is of account"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := set.Accept(test.offered)
			refused(t, err, test.kind, test.reason)
		})
	}
	if _, err := (message.TrustSet{}).Accept(third); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("who pins nothing accepts something: %v", err)
	}
}

func TestATrustSetIsReadStrictly(t *testing.T) {
	alice := newSigner(t)
	e := newTrustee(t, alice)
	hashes := func(names ...string) []string { return hashesOf(e.set.Account, names...) }
	for name, test := range map[string]struct {
		change func(*message.TrustSet)
		reason string
	}{
		"no version":         {func(s *message.TrustSet) { s.Version = 0 }, "version: is missing"},
		"no signer":          {func(s *message.TrustSet) { s.Signers = nil }, "nobody could sign the next version"},
		"a signer of a kind": {func(s *message.TrustSet) { s.Signers = []string{s.Account} }, "signers[0]"},
		"an issuer":          {func(s *message.TrustSet) { s.Issuers = []string{alice.public} }, "issuers[0]"},
		"no account":         {func(s *message.TrustSet) { s.Account = "" }, "account"},
		"a curve":            {func(s *message.TrustSet) { s.Curve = "X" }, "curve"},
		"a node":             {func(s *message.TrustSet) { s.Keys[0].Role = subjects.Node }, "may not command nodes"},
		"a node's name":      {func(s *message.TrustSet) { s.Keys[0].Nodes = []string{"ship1"} }, "keys[0].nodes"},
		"a wildcard":         {func(s *message.TrustSet) { s.Keys[0].Nodes = []string{"*"} }, "keys[0].nodes"},
		"a method":           {func(s *message.TrustSet) { s.Keys[0].Methods = []string{"re.load"} }, "keys[0].methods"},
		"twice":              {func(s *message.TrustSet) { s.Keys = append(s.Keys, s.Keys[0]) }, "stands twice"},
		"trusted and revoked": {func(s *message.TrustSet) {
			s.Revoked = []message.RevokedKey{{Key: alice.public, Name: "alice", Role: subjects.Admin, At: stored}}
		}, "revoked[0].key"},
		"revoked at no time": {func(s *message.TrustSet) {
			s.Revoked = []message.RevokedKey{{Key: newSigner(t).public, Name: "bob", Role: subjects.Admin}}
		}, "revoked[0].at"},
		"too large": {func(s *message.TrustSet) {
			for range 5000 {
				s.Keys[0].Methods = append(s.Keys[0].Methods, "a-method-with-a-name-that-is-as-long-as-names-may-be-in-a-trust-set-"[:63])
			}
			s.Keys[0].Nodes = slices.Repeat(hashes("ship1"), 20_000)
		}, "at most 524288"},
	} {
		t.Run(name, func(t *testing.T) {
			set := e.set
			set.Keys = slices.Clone(set.Keys)
			test.change(&set)
			_, err := message.SignTrust(set, e.signer)
			refused(t, err, fleet.Invalid, test.reason)
		})
	}
	m := e.sign(t, e.signer)
	m.Body = append([]byte(`{"more":1,`), m.Body[1:]...)
	m = signed(t, m, e.signer)
	_, err := message.OpenTrust(m)
	refused(t, err, fleet.Invalid, `unknown field "more"`)
	m.Subject = message.RegisterSubject("fleet")
	_, err = message.OpenTrust(signed(t, m, e.signer))
	refused(t, err, fleet.Invalid, "is not a trust set")
}

func TestAChangeInATrustFileIsFoundAndNewIndentationIsNone(t *testing.T) {
	e := newTrustee(t, newSigner(t))
	m := e.next(t, func(s *message.TrustSet) {
		s.Revoked = []message.RevokedKey{{Key: newSigner(t).public, Name: "bob", Role: subjects.Operator, At: stored, Reason: "left <the> fleet & went"}}
	})
	data, err := message.EncodeTrust(m)
	if err != nil {
		t.Fatal(err)
	}
	var flat, wide bytes.Buffer
	if err := errors.Join(json.Compact(&flat, data), json.Indent(&wide, data, "", "\t")); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{data, flat.Bytes(), wide.Bytes()} {
		read, err := message.DecodeTrust(text)
		if err != nil || !bytes.Equal(read.Body, m.Body) || read.Signature != m.Signature {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for old, changed := range map[string]string{`"version": 2`: `"version": 3`, `"operator"`: `"admin"`, `"alice"`: `"carol"`, e.public: newSigner(t).public} {
		_, err := message.DecodeTrust(bytes.Replace(data, []byte(old), []byte(changed), 1))
		refused(t, err, fleet.Refused, "signature does not fit")
	}
	for _, text := range []string{"", "{}", `{"keys":[]}`, "rubbish"} {
		if _, err := message.DecodeTrust([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func hashesOf(account string, names ...string) (all []string) {
	for _, name := range names {
		all = append(all, message.HashNode(account, name))
	}
	return all
}

func TestALimitRefusesWithItsReason(t *testing.T) {
	alice := newSigner(t)
	e := newTrustee(t, alice)
	hashes := func(names ...string) []string { return hashesOf(e.set.Account, names...) }
	for name, test := range map[string]struct {
		change func(*message.TrustedKey)
		now    time.Time
		reason string
	}{
		"none":              {func(*message.TrustedKey) {}, stored, ""},
		"the method":        {func(k *message.TrustedKey) { k.Methods = []string{"reload"} }, stored, ""},
		"another method":    {func(k *message.TrustedKey) { k.Methods = []string{"healthreport", "nginxconfig"} }, stored, "alice is admin and may not send reload, only healthreport, nginxconfig"},
		"no method":         {func(k *message.TrustedKey) { k.Methods = nil }, stored, "alice is admin and may send no commands"},
		"the node":          {func(k *message.TrustedKey) { k.Nodes = hashes("ship2", "ship1") }, stored, ""},
		"another node":      {func(k *message.TrustedKey) { k.Nodes = hashes("ship2") }, stored, "alice may not command ship1"},
		"of another tenant": {func(k *message.TrustedKey) { k.Nodes = []string{message.HashNode("A", "ship1")} }, stored, "alice may not command ship1"},
		"until later":       {func(k *message.TrustedKey) { k.Until = stored.Add(time.Second) }, stored, ""},
		"until now":         {func(k *message.TrustedKey) { k.Until = stored }, stored, "the key of alice was good until 2026-03-04T05:06:07Z"},
		"no clock to know":  {func(k *message.TrustedKey) { k.Until = stored }, time.Time{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := e.next(t, func(s *message.TrustSet) {
				s.Keys[0].Methods, s.Keys[0].Nodes, s.Keys[0].Until = []string{"*"}, nil, time.Time{}
				test.change(&s.Keys[0])
			})
			trust := opened(t, m).Lookup(func() time.Time { return test.now })
			_, err := message.VerifyCommand(new(signed(t, sample(), alice)), "ship1", trust, stored)
			if test.reason == "" && err != nil {
				t.Error(err)
			}
			if test.reason != "" {
				refused(t, err, fleet.Refused, test.reason)
			}
		})
	}
}

// What somebody wrote before the key was revoked stands, and no command does.
func TestARevokedKeyIsBelievedForWhatWasStoredBefore(t *testing.T) {
	alice, station, ship1 := newSigner(t), newSigner(t), newSigner(t)
	e := newTrustee(t, newSigner(t))
	at := stored.Add(-time.Hour)
	m := e.next(t, func(s *message.TrustSet) {
		s.Revoked = []message.RevokedKey{
			{Key: alice.public, Name: "alice", Role: subjects.Operator, At: at, Reason: "left"},
			{Key: station.public, Name: "station", Role: subjects.Station, At: at},
			{Key: ship1.public, Role: subjects.Node, At: at},
		}
	})
	trust := opened(t, m).Lookup(func() time.Time { return stored })
	const why = "the key of alice was revoked on 2026-03-04T04:06:07Z: left"
	_, err := message.VerifyCommand(new(signed(t, sample(), alice)), "ship1", trust, stored)
	refused(t, err, fleet.Refused, why)

	resource := signed(t, message.Message{Subject: message.ResourceSubject("VirtualHost", "shop"), ID: sampleID, From: "alice", Body: []byte("{}")}, alice)
	if owner, err := message.VerifyStored(&resource, at.Add(-1), trust, subjects.Operator); err != nil || owner.Name != "alice" {
		t.Error(owner, err)
	}
	_, err = message.VerifyStored(&resource, at.Add(-1), trust, subjects.Admin)
	refused(t, err, fleet.Refused, "alice is operator and may not write this")
	for _, when := range []time.Time{at, stored, {}} {
		_, err := message.VerifyStored(&resource, when, trust, subjects.Operator)
		refused(t, err, fleet.Refused, why)
	}
	refused(t, message.VerifyDocument(&resource, trust, subjects.Operator), fleet.Refused, why)

	event := message.NewAnswer(sample(), "ship1", message.Succeeded, message.Answer{})
	for by, reason := range map[signer]string{ship1: "the key of the node was revoked", station: "the key of station was revoked"} {
		m := signed(t, event, by)
		if err := message.VerifyEvent(&m, at.Add(-1), ship1.public, trust); err != nil {
			t.Error(err)
		}
		refused(t, message.VerifyEvent(&m, at, ship1.public, trust), fleet.Refused, reason)
	}
}

func TestAKeeperNeverGoesBack(t *testing.T) {
	alice := newSigner(t)
	e := newTrustee(t, alice)
	first := e.sign(t, e.signer)
	k, err := message.NewTrustKeeper(first, func() time.Time { return stored })
	if err != nil {
		t.Fatal(err)
	}
	var kept []uint64
	k.Keep = func(m message.Message) error {
		kept = append(kept, opened(t, m).Version)
		return errors.New("the disk is full")
	}
	changed := k.Changed()
	if _, ok := k.Find(alice.public); !ok {
		t.Error("alice is not trusted")
	}
	second := e.next(t, func(s *message.TrustSet) {
		s.Keys = []message.TrustedKey{}
		s.Revoked = []message.RevokedKey{{Key: alice.public, Name: "alice", Role: subjects.Admin, At: stored}}
	})
	// What is taken back is not believed although it cannot be kept.
	refused(t, k.Offer(second), fleet.Internal, "keep trust set 2: the disk is full")
	select {
	case <-changed:
	default:
		t.Error("the change was not told")
	}
	if _, ok := k.Find(alice.public); ok || k.Current().Version != 2 || k.Message().Signature != second.Signature {
		t.Error("the newer set is not believed")
	}
	refused(t, k.Offer(first), fleet.Conflict, "is not newer")
	if k.Current().Version != 2 || !slices.Equal(kept, []uint64{2}) {
		t.Errorf("believes %d, kept %v", k.Current().Version, kept)
	}
}

func TestAProgramBeginsWithTheNewerOfItsTwoSets(t *testing.T) {
	e := newTrustee(t, newSigner(t))
	one, two := e.sign(t, e.signer), e.next(t, nil)
	other := newTrustee(t, newSigner(t)).next(t, func(s *message.TrustSet) { s.Version = 9 })
	for name, test := range map[string]struct{ given, kept, want message.Message }{
		"a newer was kept":  {one, two, two},
		"a newer was given": {two, one, two},
		"nothing was kept":  {one, message.Message{}, one},
		"another account's": {one, other, one},
		"what is kept is forged": {one, func() message.Message {
			m := two
			m.Body = bytes.Replace(m.Body, []byte("alice"), []byte("carol"), 1)
			return m
		}(), one},
	} {
		if got := message.NewestPinned(test.given, test.kept); got.Signature != test.want.Signature || !bytes.Equal(got.Body, test.want.Body) {
			t.Errorf("%s: began with %s", name, got.Body)
		}
	}
}
