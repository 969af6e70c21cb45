package broker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

// reissue is the tenant's account with a change, signed by an operator whose
// identity directory is dir, and issued later than the one before.
func reissue(t *testing.T, dir string, a *identity.Authority, change func(*jwt.AccountClaims)) string {
	t.Helper()
	seed, err := os.ReadFile(filepath.Join(dir, "operator-signing.seed"))
	if err != nil {
		t.Fatal(err)
	}
	operator, err := nkeys.FromSeed(seed[:len(seed)-1])
	if err != nil {
		t.Fatal(err)
	}
	before, err := jwt.DecodeAccountClaims(a.AccountJWTs()[a.TenantAccount()])
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	eventually(t, func(context.Context) error {
		claims := *before
		change(&claims)
		if text, err = claims.Encode(operator); err == nil && claims.IssuedAt <= before.IssuedAt {
			err = errors.New("a JWT's time counts seconds, and this one is not over")
		}
		return err
	})
	return text
}

// system connects as the system account's user.
func (s *site) system(t *testing.T) *bus.Conn {
	t.Helper()
	creds, err := s.SystemUser()
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), TLS: trusts(s.Authority), Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (s *site) push(t *testing.T, account string) {
	t.Helper()
	if took, err := s.system(t).PushAccount(t.Context(), account); err != nil || !slices.Equal(took, []string{"fairlead"}) {
		t.Fatalf("%v took it: %v", took, err)
	}
}

// takes reports whether the broker lets a user in.
func takes(t *testing.T, s *site, u identity.User) bool {
	t.Helper()
	nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserCredentials(u.CredsFile))
	if err == nil {
		nc.Close()
	} else if !errors.Is(err, nats.ErrAuthorization) {
		t.Fatal(err)
	}
	return err == nil
}

func TestATenantThatIsMadeLaterReachesARunningBrokerAndIsKept(t *testing.T) {
	dir := t.TempDir()
	s := startOf(t, authority(t, dir, identity.Options{}), nil)
	shop := authority(t, dir, identity.Options{Tenant: "shop"})
	alice := user(t, shop, "alice", subjects.Admin)
	if takes(t, s, alice) {
		t.Fatal("the broker takes a user of an account that it does not know")
	}
	s.push(t, shop.AccountJWTs()[shop.TenantAccount()])
	if !takes(t, s, alice) {
		t.Error("the broker does not take a user of the new account")
	}
	ensureStorage(t, s.URL(), shop) // JetStream included
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c = s.config })
	if !takes(t, again, alice) {
		t.Error("after its restart the broker does not know the account any more")
	}
}

func TestARevokedUserIsCutOffAtOnceAndStaysOut(t *testing.T) {
	dir := t.TempDir()
	s := startOf(t, authority(t, dir, identity.Options{}), nil)
	mallory, alice := user(t, s.Authority, "mallory", subjects.Admin), user(t, s.Authority, "alice", subjects.Admin)
	told := make(chan error, 16)
	nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserCredentials(mallory.CredsFile), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { told <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s.push(t, reissue(t, dir, s.Authority, func(c *jwt.AccountClaims) { c.RevokeAt(mallory.Key, time.Now()) }))
	select {
	case err := <-told:
		if !errors.Is(err, nats.ErrAuthRevoked) {
			t.Errorf("the end of the connection is told as %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the revoked user is connected still")
	}
	if takes(t, s, mallory) || !takes(t, s, alice) {
		t.Error("mallory is let in, or alice is not")
	}
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c = s.config }) // with the accounts from before
	if takes(t, again, mallory) || !takes(t, again, alice) {
		t.Error("after a restart mallory is let in, or alice is not")
	}
}

func TestAnAccountOfAnotherOperatorOutlivesNoRestart(t *testing.T) {
	dir := t.TempDir()
	s := startOf(t, authority(t, dir, identity.Options{}), nil)
	alice := user(t, s.Authority, "alice", subjects.Admin)
	theirs := t.TempDir()
	authority(t, theirs, identity.Options{})
	forged := reissue(t, theirs, s.Authority, func(c *jwt.AccountClaims) { c.Name = "taken over" })
	s.push(t, forged) // nats-server says that it took it; what the system user can do is to keep everybody out
	s.stop()
	again := startOf(t, s.Authority, func(c *broker.Config) { *c = s.config })
	if !takes(t, again, alice) {
		t.Error("an account of another operator has taken the place of ours")
	}
}

func TestWhoIsNotOfTheSystemAccountPushesNothing(t *testing.T) {
	dir := t.TempDir()
	s := startOf(t, authority(t, dir, identity.Options{}), nil)
	alice := user(t, s.Authority, "alice", subjects.Admin)
	creds, err := identity.LoadCreds(alice.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), TLS: trusts(s.Authority), Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	account := reissue(t, dir, s.Authority, func(c *jwt.AccountClaims) { c.RevokeAt(jwt.All, time.Now()) })
	if took, err := c.PushAccount(ctx, account); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("%v took it: %v", took, err)
	}
	if !takes(t, s, alice) {
		t.Error("an administrator of a tenant changed its account")
	}
}

func TestAnAccountReachesAllBrokersOfAClusterAndThoseThatWereAway(t *testing.T) {
	sites := startCluster(t, "2m")
	dir := sites[0].dir
	mallory := user(t, sites[0].Authority, "mallory", subjects.Admin)
	var conns []*nats.Conn
	for _, s := range sites[:2] {
		nc, err := nats.Connect(s.URL(), secure(s.Authority), nats.UserCredentials(mallory.CredsFile), nats.NoReconnect(),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns = append(conns, nc)
	}
	away := sites[2]
	away.stop()
	account := reissue(t, dir, sites[0].Authority, func(c *jwt.AccountClaims) { c.RevokeAt(mallory.Key, time.Now()) })
	eventually(t, func(ctx context.Context) error { // until the others know that it is away
		took, err := sites[0].system(t).PushAccount(ctx, account)
		if err == nil && !slices.Equal(took, []string{"broker1", "broker2"}) {
			err = fmt.Errorf("%v took it", took)
		}
		return err
	})
	for i, nc := range conns {
		eventually(t, func(context.Context) error {
			if !nc.IsClosed() {
				return fmt.Errorf("mallory is connected to broker %d still", i+1)
			}
			return nil
		})
	}
	back := startOf(t, away.Authority, func(c *broker.Config) { *c = away.config })
	eventually(t, func(context.Context) error {
		if takes(t, back, mallory) {
			return errors.New("the broker that was away lets mallory in")
		}
		return nil
	})
}
