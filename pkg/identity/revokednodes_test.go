package identity_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// joinedNodes are keys of nodes of which the directory knows nothing.
func joinedNodes(t *testing.T, n int) (users []identity.User) {
	t.Helper()
	for i := range n {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw)
		key, err := nkeys.Encode(nkeys.PrefixByteUser, raw)
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, identity.User{Name: fmt.Sprint("node", i), Role: subjects.Node, Key: string(key)})
	}
	return users
}

func TestTenThousandNodesCanBeRevoked(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	member(t, a, "alice", subjects.Admin)
	many := joinedNodes(t, 10_000)
	if err := a.RevokeKeys("scrapped", many[:9_999]...); err != nil {
		t.Fatal(err)
	}
	before, err := a.RevokedNodes()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeKeys("scrapped", many[9_999]); err != nil {
		t.Fatal(err)
	}
	m, err := a.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.Account()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("nodes read %d bytes; the account's JWT has %d", len(m.Body), len(text))
	if len(m.Body) > 4<<10 {
		t.Errorf("nodes read %d bytes", len(m.Body))
	}
	lists, err := a.RevokedNodes()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(lists) - 1; n != len(before)-1 || !slices.EqualFunc(lists[:n], before[:n], slices.Equal) || slices.Equal(lists[n], before[n]) {
		t.Error("one more revocation changes more than the last list")
	}
	keeper, err := message.NewTrustKeeper(m, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		if len(list) > message.MaxBody {
			t.Errorf("a list has %d bytes", len(list))
		}
		if err := keeper.AddRevoked(list); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{0, 999, 1000, 5000, 9_999} {
		if owner, known := keeper.Find(many[i].Key); known || owner.Why == "" {
			t.Errorf("node %d is not revoked: %+v", i, owner)
		}
	}
	claims, err := jwt.DecodeAccountClaims(text)
	if err != nil || len(claims.Revocations) != len(many) {
		t.Error("the account names", len(claims.Revocations), err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "tenants", "main", "revoked", "*")); err != nil || len(files) != len(lists) {
		t.Errorf("%d files for %d lists: %v", len(files), len(lists), err)
	}
}

// Before, the account named keys that the trust set had no room for.
func TestARevocationThatCannotBeToldChangesNothing(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	member(t, a, "alice", subjects.Admin)
	trusted(t, a)
	before := tree(t, dir)
	if err := a.RevokeKeys("scrapped", joinedNodes(t, 12_000)...); fleet.KindOf(err) != fleet.Busy {
		t.Errorf("an account that no broker takes: %v", err)
	}
	if after := tree(t, dir); !maps.Equal(before, after) {
		t.Error("the directory is another")
	}
	if err := a.RevokeKeys("scrapped", joinedNodes(t, 1)...); err != nil {
		t.Error("afterwards:", err)
	}
}

func TestADirectoryFromABackupTakesOverWhichNodesWereRevoked(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, identity.Options{})
	trusted(t, a)
	backup := tree(t, dir)
	node := joinedNodes(t, 2)
	if err := a.RevokeKeys("stolen", node[0]); err != nil {
		t.Fatal(err)
	}
	m, err := a.TrustSet()
	if err != nil {
		t.Fatal(err)
	}
	lists, err := a.RevokedNodes()
	if err != nil {
		t.Fatal(err)
	}

	restored := t.TempDir()
	for name, content := range backup {
		put(t, filepath.Join(restored, name), content)
	}
	b := open(t, restored, identity.Options{})
	if _, err := b.AdoptTrust(m); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("without the list: %v", err)
	}
	if took, err := b.AdoptTrust(m, lists...); !took || err != nil {
		t.Fatal(took, err)
	}
	if all := revokedIn(t, b); len(all) != 1 || all[0].Key != node[0].Key || all[0].Reason != "stolen" {
		t.Errorf("%+v", all)
	}
	if _, there := account(t, b).Revocations[node[0].Key]; !there {
		t.Error("the account does not name it")
	}
	// Where the lists were left out of a backup the brokers' are fetched.
	if err := os.RemoveAll(filepath.Join(restored, "tenants", "main", "revoked")); err != nil {
		t.Fatal(err)
	}
	if err := b.RevokeKeys("stolen", node[1]); fleet.KindOf(err) != fleet.Unknown {
		t.Errorf("a list would have been lost: %v", err)
	}
	if _, err := b.AdoptTrust(m, lists...); err != nil {
		t.Fatal(err)
	}
	if err := b.RevokeKeys("stolen", node[1]); err != nil || len(revokedIn(t, b)) != 2 {
		t.Error(err, revokedIn(t, b))
	}
}

func TestAFormerKeyOfANodeIsLetInNoMoreAndCountsForItsDay(t *testing.T) {
	a := open(t, t.TempDir(), identity.Options{})
	former, until := joinedNodes(t, 1)[0].Key, time.Now().Add(24*time.Hour)
	end := message.RevokedKey{Key: former, Role: subjects.Node, At: until, Reason: "the node has another key"}
	for range 2 { // again changes nothing
		if err := a.EndKeys(end); err != nil {
			t.Fatal(err)
		}
	}
	if _, barred := account(t, a).Revocations[former]; !barred {
		t.Error("brokers let it in")
	}
	if all := revokedIn(t, a); len(all) != 1 || !all[0].At.Equal(until.Truncate(time.Millisecond)) || trusted(t, a).Version != 1 {
		t.Errorf("%+v in set %d", all, trusted(t, a).Version)
	}
	// Where it turns out to be stolen, nothing of it counts since then.
	if err := a.RevokeKeys("stolen", identity.User{Key: former, Role: subjects.Node}); err != nil {
		t.Fatal(err)
	}
	if all := revokedIn(t, a); len(all) != 1 || !all[0].At.Before(time.Now().Add(time.Second)) {
		t.Errorf("%+v", all)
	}
}
