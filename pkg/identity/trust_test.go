package identity_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// trusted is the trust set of an authority as nodes get it.
func trusted(t *testing.T, a *identity.Authority) message.TrustSet {
	t.Helper()
	m, err := a.TrustSet()
	return set(t, m, err)
}

func set(t *testing.T, m message.Message, err error) message.TrustSet {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := message.OpenTrust(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func member(t *testing.T, a *identity.Authority, name string, role subjects.Role) identity.User {
	t.Helper()
	u, err := a.User(name, role)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// revokedIn are all keys that a directory's trust set takes back, nodes' too.
func revokedIn(t *testing.T, a *identity.Authority) []message.RevokedKey {
	t.Helper()
	all := trusted(t, a).Revoked
	lists, err := a.RevokedNodes()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range lists {
		keys, err := message.DecodeRevoked(body)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys...)
	}
	return all
}

func names(s message.TrustSet) (all []string) {
	for _, k := range s.Keys {
		all = append(all, k.Name)
	}
	return all
}

func TestATrustSetHoldsEverybodyButNodes(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	keys := make(map[subjects.Role]string)
	for _, role := range subjects.Roles() {
		keys[role] = member(t, a, "u-"+string(role), role).Key
	}
	put(t, filepath.Join(dir, "tenants", "main", "users", "broken.creds"), "rubbish")

	s := trusted(t, a)
	if got := names(s); !slices.Equal(got, []string{"u-admin", "u-operator", "u-station", "u-viewer"}) || s.Account != a.TenantAccount() || s.Version != 1 {
		t.Fatalf("%+v", s)
	}
	trust := s.Lookup(time.Now)
	for role, may := range map[subjects.Role][2]bool{
		subjects.Admin: {true, true}, subjects.Station: {true, true}, subjects.Operator: {true, false}, subjects.Viewer: {false, false},
	} {
		k, ok := trust(keys[role])
		if got := [2]bool{k.May("reload"), k.May("shellcommand")}; !ok || k.Role != role || got != may {
			t.Errorf("%s: %+v, %v", role, k, ok)
		}
	}
	claims := account(t, a)
	for _, issuer := range s.Issuers {
		if scope, ok := claims.SigningKeys.GetScope(issuer); !ok || scope == nil {
			t.Errorf("issuer %s is no signing key of the account", issuer)
		}
	}
}

func TestATrustSetHasANewVersionForEachChangeAndForNothingElse(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	alice, olga := member(t, a, "alice", subjects.Admin), member(t, a, "olga", subjects.Operator)
	first := trusted(t, a)
	text, err := os.ReadFile(a.TrustFile())
	if err != nil {
		t.Fatal(err)
	}
	if again := trusted(t, open(t, dir, identity.Options{})); again.Version != first.Version {
		t.Errorf("version %d follows %d for nothing", again.Version, first.Version)
	}
	if after, _ := os.ReadFile(a.TrustFile()); string(after) != string(text) {
		t.Error("the file was written for nothing")
	}
	member(t, a, "bob", subjects.Admin)
	if second := trusted(t, a); second.Version != 2 || !slices.Contains(names(second), "bob") {
		t.Errorf("%+v", second)
	}
	if third := trusted(t, open(t, dir, identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})); third.Version != 3 {
		t.Errorf("%+v", third)
	}

	// Who is taken back is never trusted again, and keeps what tells whose it was.
	if _, err := a.Revoke("alice", "left"); err != nil {
		t.Fatal(err)
	}
	fourth := trusted(t, a)
	if fourth.Version != 4 || slices.Contains(names(fourth), "alice") || len(fourth.Revoked) != 1 {
		t.Fatalf("%+v", fourth)
	}
	if r := fourth.Revoked[0]; r.Name != "alice" || r.Role != subjects.Admin || r.Reason != "left" || !slices.Equal(r.Methods, []string{"*"}) || time.Since(r.At) > time.Minute {
		t.Errorf("%+v", r)
	}
	if err := a.RevokeKeys("again", alice); err != nil || trusted(t, a).Version != 4 {
		t.Error("taken back twice", err)
	}
	since := fourth.Revoked[0].At.Add(-time.Hour)
	m, err := a.Distrust(message.RevokedKey{Key: alice.Key, At: since})
	if s := set(t, m, err); len(s.Revoked) != 1 || !s.Revoked[0].At.Equal(since) || s.Revoked[0].Reason != "left" || s.Revoked[0].Name != "alice" {
		t.Errorf("%+v", s.Revoked)
	}
	// So is who is not there any more, but not while a file cannot be read.
	if err := os.Rename(olga.CredsFile, filepath.Join(t.TempDir(), "olga.creds")); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(filepath.Dir(olga.CredsFile), "broken.creds")
	put(t, broken, "rubbish")
	if s := trusted(t, a); !slices.Contains(names(s), "olga") {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	last := trusted(t, a)
	if slices.Contains(names(last), "olga") || len(last.Revoked) != 2 || last.Revoked[1].Name != "olga" || last.Revoked[1].Role != subjects.Operator {
		t.Errorf("%+v", last)
	}
}

// Every node reads the set.
func TestATrustSetNamesNoNode(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{Methods: map[subjects.Role][]string{subjects.Operator: {"reload"}}})
	limits := subjects.Limits{Nodes: []string{"ship-secret-1", "ship-secret-2"}}
	lina, err := a.Create(identity.New{Name: "lina", Role: subjects.Operator, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	node := member(t, a, "ship-secret-3", subjects.Node)
	here := func() string {
		t.Helper()
		m, err := a.TrustSet()
		owner, known := set(t, m, err).Lookup(time.Now)(lina.Key)
		if !known || !owner.On("ship-secret-1") || !owner.On("ship-secret-2") || owner.On("ship-secret-3") || owner.On(owner.Nodes[0]) {
			t.Errorf("%+v, %v", owner, known)
		}
		return string(m.Body)
	}
	if text := here(); strings.Contains(text, "ship-secret") {
		t.Error(text)
	}
	if _, err := a.Revoke(node.Name, "stolen"); err != nil {
		t.Fatal(err)
	}
	if text := here(); strings.Contains(text, "ship-secret") || strings.Contains(text, node.Key) || strings.Contains(text, "stolen") {
		t.Error(text)
	}
	if all := revokedIn(t, a); len(all) != 1 || all[0].Key != node.Key || all[0].Reason != "stolen" || all[0].Name != "" {
		t.Errorf("%+v", all)
	}
	if _, err := a.Revoke("lina", "left"); err != nil {
		t.Fatal(err)
	}
	s := trusted(t, a)
	if owner, known := s.Lookup(time.Now)(lina.Key); known || owner.Name != "lina" || !owner.On("ship-secret-1") || owner.On("ship-secret-3") {
		t.Errorf("%+v", owner)
	}
}

// Who left is forgotten where nothing of theirs can stand and no broker could
// let them in: else set and account would grow for ever.
func TestWhoWasRevokedIsForgottenOnceNothingOfTheirsHolds(t *testing.T) {
	now := time.Now()
	o := identity.Options{Now: func() time.Time { return now }}
	a := open(t, t.TempDir(), o)
	keys := make(map[string]string)
	for name, role := range map[string]subjects.Role{"ada": subjects.Admin, "vera": subjects.Viewer} {
		keys[name] = member(t, a, name, role).Key
		if _, err := a.Revoke(name, "left"); err != nil {
			t.Fatal(err)
		}
	}
	joined := member(t, open(t, t.TempDir(), o), "ship1", subjects.Node) // of whom the directory knows nothing
	keys["ship1"] = joined.Key
	if err := a.RevokeKeys("stolen", identity.User{Name: "ship1", Role: subjects.Node, Key: joined.Key}); err != nil {
		t.Fatal(err)
	}
	left := func() (inSet, inAccount []string) {
		for name, key := range keys {
			if slices.ContainsFunc(revokedIn(t, a), func(k message.RevokedKey) bool { return k.Key == key }) {
				inSet = append(inSet, name)
			}
			if _, there := account(t, a).Revocations[key]; there {
				inAccount = append(inAccount, name)
			}
		}
		slices.Sort(inSet)
		slices.Sort(inAccount)
		return inSet, inAccount
	}
	holds := func(when string, set, account []string) {
		t.Helper()
		if s, acc := left(); !slices.Equal(s, set) || !slices.Equal(acc, account) {
			t.Errorf("%s: the set has %v, the account %v", when, s, acc)
		}
	}
	all := []string{"ada", "ship1", "vera"}
	holds("at first", all, all)
	// Whose file is still there is not trusted again.
	keys["walt"] = member(t, a, "walt", subjects.Viewer).Key
	if _, err := a.Distrust(message.RevokedKey{Key: keys["walt"]}); err != nil {
		t.Fatal(err)
	}
	holds("with walt", append(slices.Clone(all), "walt"), all)
	now = now.Add(identity.PersonLife + subjects.MaxCommandAge + subjects.DefaultSettings().AuditAge + 24*time.Hour)
	keys["last"] = member(t, a, "last", subjects.Viewer).Key
	if _, err := a.Revoke("last", "left"); err != nil {
		t.Fatal(err)
	}
	// What an administrator wrote before stands.
	holds("in the end", []string{"ada", "last", "walt"}, []string{"last"})
}

func TestTheKeyThatSignsTrustSetsRotates(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	member(t, a, "alice", subjects.Admin)
	first := trusted(t, a)
	if _, err := a.RotateTrust(true); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("a rotation that never began ends with %v", err)
	}
	m, err := a.RotateTrust(false)
	both := set(t, m, err)
	if len(both.Signers) != 2 || both.Signers[0] != first.Signers[0] || m.Key != first.Signers[0] {
		t.Fatalf("%+v signed by %s", both, m.Key)
	}
	if m, err = a.RotateTrust(false); set(t, m, err).Version != both.Version {
		t.Error("a rotation that is under way begins again")
	}
	m, err = a.RotateTrust(true)
	dropped := set(t, m, err)
	if _, err := first.Accept(m); err != nil || !slices.Equal(dropped.Signers, both.Signers[1:]) {
		t.Errorf("%v, %+v", err, dropped)
	}
	member(t, a, "bob", subjects.Admin)
	m, err = open(t, dir, identity.Options{}).TrustSet()
	next := set(t, m, err)
	if _, err := dropped.Accept(m); err != nil || next.Version != dropped.Version+1 || m.Key != both.Signers[1] {
		t.Errorf("%v, %+v signed by %s", err, next, m.Key)
	}
	if _, err := both.Accept(m); err != nil {
		t.Errorf("who knows both does not follow: %v", err)
	}
	if _, err := first.Accept(m); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("who knows the old one alone follows without a step between: %v", err)
	}
}

func TestARotationGoesOnWhereAKillStoppedIt(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	if _, err := a.RotateTrust(false); err != nil {
		t.Fatal(err)
	}
	seeds := tree(t, dir)
	m, err := a.RotateTrust(true)
	dropped := set(t, m, err)
	for _, name := range []string{"tenants/main/trust.seed", "tenants/main/trust.next.seed"} { // as before the renaming
		put(t, filepath.Join(dir, name), seeds[name])
	}
	member(t, a, "alice", subjects.Admin)
	m, err = a.TrustSet()
	if next := set(t, m, err); next.Version != dropped.Version+1 || m.Key != dropped.Signers[0] || !slices.Equal(next.Signers, dropped.Signers) {
		t.Errorf("%+v signed by %s", next, m.Key)
	}
	if _, err := os.Stat(filepath.Join(dir, "tenants/main/trust.next.seed")); err == nil {
		t.Error("the old key is still there")
	}
}

func TestATrustSetIsNotSignedByAnotherKeyThanItNames(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	first := trusted(t, a)
	seed := filepath.Join(dir, "tenants/main/trust.seed")
	if err := os.Remove(seed); err != nil {
		t.Fatal(err)
	}
	if got := trusted(t, open(t, dir, identity.Options{})); got.Version != first.Version { // it may be kept elsewhere
		t.Errorf("%+v", got)
	}
	member(t, a, "alice", subjects.Admin)
	if _, err := a.TrustSet(); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "trust.seed is not here: bring it back") {
		t.Error(err)
	}
	other := t.TempDir()
	trusted(t, open(t, other, identity.Options{}))
	put(t, seed, tree(t, other)["tenants/main/trust.seed"])
	if _, err := a.TrustSet(); err == nil || !strings.Contains(err.Error(), "does not belong to the seeds beside it") {
		t.Error(err)
	}
}

// Nodes have seen more versions than a directory remembers that was restored.
func TestADirectoryFromABackupGoesOnBehindWhatItOnceSigned(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	first := trusted(t, a)
	backup := tree(t, dir)
	bob := member(t, a, "bob", subjects.Admin)
	m, err := a.TrustSet()
	newest := set(t, m, err)

	restored := t.TempDir()
	for name, content := range backup {
		put(t, filepath.Join(restored, name), content)
	}
	b := open(t, restored, identity.Options{})
	stranger, err := open(t, t.TempDir(), identity.Options{}).TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AdoptTrust(stranger); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("a stranger's is taken over: %v", err)
	}
	if took, err := b.AdoptTrust(m); !took || err != nil {
		t.Fatal(took, err)
	}
	if took, err := b.AdoptTrust(m); took || err != nil {
		t.Errorf("taken over twice: %v, %v", took, err)
	}
	member(t, b, "carol", subjects.Admin)
	m, err = b.TrustSet()
	next := set(t, m, err)
	if _, err := newest.Accept(m); err != nil || next.Version <= first.Version+1 {
		t.Errorf("%v: %+v", err, next)
	}
	if len(next.Revoked) != 1 || next.Revoked[0].Key != bob.Key { // whom the backup does not know
		t.Errorf("%+v", next)
	}
}

func TestATrustFileIsReadStrictly(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	member(t, a, "alice", subjects.Admin)
	trusted(t, a)
	good, err := os.ReadFile(a.TrustFile())
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		strings.Replace(string(good), `"alice"`, `"carol"`, 1):      "signature does not fit",
		strings.Replace(string(good), `"set"`, `"more":1,"set"`, 1): `unknown field "more"`,
		`{"keys":[]}`: "not a signed trust set",
		``:            "not a signed trust set",
	} {
		path := filepath.Join(t.TempDir(), "trust.json")
		put(t, path, content)
		if _, err := identity.LoadTrust(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want %q", content, err, want)
		}
	}
}
