package dev_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/dev"
	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/identity"
	"fairlead/pkg/manifest"
	"fairlead/pkg/message"
	"fairlead/pkg/message/packtest"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// shopText is a site over TLS on nodes with an index, and its certificate.
const shopText = `apiVersion: fairlead/v1
kind: Certificate
metadata: {name: shop}
spec: {certificateFile: shop.crt, keyFile: shop.key%s}
---
apiVersion: fairlead/v1
kind: VirtualHost
metadata: {name: shop}
spec:
  selector: index=1
  listen: [{port: 8443, tls: true}]
  serverNames: [%s]
  tls: {certificate: shop}
  locations: [{path: /, return: {code: 200, text: over TLS}}]
`

// shop is the site with a pair, in files as people have them.
func shop(t *testing.T, p certtest.Pair, allow, name string) manifest.Set {
	t.Helper()
	dir := t.TempDir()
	p.Write(t, dir, "shop.crt", "shop.key")
	path := filepath.Join(dir, "shop.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, shopText, allow, name), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := manifest.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const shopName = "shop.example.org"

// leafOf is what a client sees that trusts the authority and asks for the shop.
func leafOf(ctx context.Context, a *certtest.Authority, address string) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{RootCAs: a.Pool(), ServerName: shopName}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, "8443"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func servesLeaf(t *testing.T, a *certtest.Authority, address string, want certtest.Pair) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	if leaf, err := leafOf(ctx, a, address); err != nil || !leaf.Equal(want.Leaf) {
		t.Errorf("over TLS: the certificate is not the one of now, %v", err)
	}
}

// ears keeps everything that is logged.
type ears struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (e *ears) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(p)
}

func leaks(text []byte, all [][]byte) bool {
	text = packtest.Whole(text)
	return slices.ContainsFunc(all, func(form []byte) bool { return bytes.Contains(text, form) })
}

func TestACertificateIsServedAndRenewedAndItsKeyIsInTheClearNowhereElse(t *testing.T) {
	t.Parallel()
	heard := new(ears)
	o := options(t, 2)
	o.Logger = slog.New(slog.NewTextHandler(heard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := dev.New(o)
	if err != nil {
		t.Fatal(err)
	}
	begin(t, d.Broker().Ready(), d.Broker().Run)
	r := &rig{Dev: d, t: t}
	if r.nodes, err = d.Nodes(); err != nil {
		t.Fatal(err)
	}
	r.station()
	r.agent(0)
	r.agent(1)
	ctx, cancel := patient(t)
	defer cancel()

	authority := certtest.New(t)
	first := authority.Issue(shopName)
	succeeds(t, r.client, shop(t, first, "", shopName), false)
	servesLeaf(t, authority, r.nodes[0].Address, first)
	if plan, err := r.client.Plan(ctx, shop(t, first, "", shopName), false); err != nil || plan.Changes() > 0 {
		t.Errorf("the same again changes %+v, %v", plan.Resources, err)
	}
	second := authority.Issue(shopName, "www."+shopName)
	plan, err := r.client.Plan(ctx, shop(t, second, "", shopName), false)
	if err != nil || plan.Changes() != 1 || len(plan.Nodes) != 1 || !strings.Contains(plan.Resources[0].Diff, "+host: www.shop.example.org") {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	succeeds(t, r.client, shop(t, second, "", shopName), false)
	servesLeaf(t, authority, r.nodes[0].Address, second)

	detail := inSync(t, r.client, "node1")
	if c := detail.Reported.Certificates; len(c) != 1 || c[0].Name != "shop" || !c[0].NotAfter.Equal(second.Leaf.NotAfter) || detail.Expiring == nil {
		t.Errorf("status tells of %+v", c)
	}
	if on, err := r.client.NodesWith(ctx, "Certificate"); err != nil || len(on["shop"]) != 1 || on["shop"][0] != "node1" {
		t.Errorf("the certificate is on %v, %v", on, err)
	}

	for _, p := range []certtest.Pair{first, second} {
		all := p.KeyForms(t)
		if leaks(heard.text.Bytes(), all) {
			t.Error("the log holds the key")
		}
		text, err := json.Marshal(plan)
		if err != nil || leaks(text, all) {
			t.Error("the plan holds the key", err)
		}
		if err := r.client.Audit(ctx, client.AuditOptions{}, func(rec client.Record) error {
			if leaks(rec.Message.Body, all) {
				t.Errorf("the audit holds the key in %s", rec.Message.Subject)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		onDisk(t, r.Data(), all)
	}
}

// onDisk holds that a key lies in closed .key files alone.
func onDisk(t *testing.T, dir string, all [][]byte) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // the broker's, which goes on
		}
		if err != nil || !leaks(data, all) {
			return err
		}
		info, err := e.Info()
		if err == nil && (filepath.Ext(path) != ".key" || info.Mode().Perm() != 0o600 || !strings.Contains(path, "/node1/")) {
			t.Errorf("%s (%v) holds the key", path, info.Mode())
		}
		found++
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("found the key in %d files, which should be one at least: %v", found, err)
	}
}

func TestNobodyButItsNodeOpensAKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.station()
	r.agent(0)
	r.agent(1)
	ctx, cancel := patient(t)
	defer cancel()
	p := certtest.New(t).Issue(shopName)
	succeeds(t, r.client, shop(t, p, "", shopName), false)

	desired, err := r.client.Desired(ctx, "node1")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := r.client.Resources(ctx, "Certificate", "shop")
	if err != nil {
		t.Fatal(err)
	}
	forNode := desired.Resources[slices.IndexFunc(desired.Resources, func(r fleet.Resource) bool { return r.Kind == "Certificate" })].Spec.(*fleet.Certificate)
	forStations := stored[0].Spec.(*fleet.Certificate)
	holder := func(i int) message.Curve {
		seed, err := os.ReadFile(filepath.Join(r.nodes[i].Dir, "state", "curve.seed"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := message.CurveOf(seed)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if key, err := holder(0).Open(forNode.SealedKey); err != nil || string(key) != string(p.Key) {
		t.Errorf("its node: %v", err)
	}
	for what, sealed := range map[string]string{"for another node": forNode.SealedKey, "for the stations": forStations.SealedKey} {
		if _, err := holder(1).Open(sealed); fleet.KindOf(err) != fleet.Refused {
			t.Errorf("another node opens what is sealed %s: %v", what, err)
		}
	}
	if _, err := holder(0).Open(forStations.SealedKey); fleet.KindOf(err) != fleet.Refused {
		t.Errorf("a node opens what is sealed for the stations: %v", err)
	}
	if info, err := os.Stat(filepath.Join(r.nodes[0].Dir, "state", "curve.seed")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the seed lies open: %v", err)
	}
}

func TestANodeWithoutAKeyIsUnfitUntilItTellsOneAndIsServedAnewWhenItChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	ctx, cancel := patient(t)
	defer cancel()
	authority := certtest.New(t)
	p := authority.Issue(shopName)
	plan, err := r.client.Plan(ctx, shop(t, p, "", shopName), false)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := r.client.Apply(ctx, plan)
	if err != nil {
		t.Fatal(err)
	}
	_, unfit, err := r.client.Told(ctx, applied)
	if err != nil || !strings.Contains(unfit["node1"], "Certificate/shop") || !strings.Contains(unfit["node1"], "has not said yet") {
		t.Errorf("before its agent ran: %v, %v", unfit, err)
	}
	running := r.agent(0)
	first := inSync(t, r.client, "node1")
	servesLeaf(t, authority, r.nodes[0].Address, p)

	running.stop(t)
	if err := os.Remove(filepath.Join(r.nodes[0].Dir, "state", "curve.seed")); err != nil {
		t.Fatal(err)
	}
	r.agent(0)
	eventually(t, "the key is sealed anew", func() bool { return node(t, r.client, "node1").DesiredRevision > first.DesiredRevision })
	if again := inSync(t, r.client, "node1"); again.DesiredDigest != first.DesiredDigest {
		t.Error("sealed anew it has another digest")
	}
	next := authority.Issue(shopName)
	succeeds(t, r.client, shop(t, next, "", shopName), false)
	servesLeaf(t, authority, r.nodes[0].Address, next)
}

func TestACertificateThatNoClientWouldTakeIsRefusedAtApply(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	ctx, cancel := patient(t)
	defer cancel()
	authority := certtest.New(t)
	good := authority.Issue(shopName)
	late := authority.IssueWith(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, certtest.NewKey(t), shopName)
	early := authority.IssueWith(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, certtest.NewKey(t), shopName)
	for _, c := range []struct {
		pair        certtest.Pair
		allow, name string
		faults      []string
	}{
		{late, "", shopName, []string{"shop.yaml:4: Certificate/shop: spec.certificateFile: expired on"}},
		{early, "", shopName, []string{"shop.yaml:4: Certificate/shop: spec.certificateFile: is valid only from"}},
		{good, "", "cart.example.org", []string{"shop.yaml:12: VirtualHost/shop: spec.serverNames[0]: cart.example.org is not covered by Certificate/shop, which is for shop.example.org"}},
		{late, ", allowExpired: true", shopName, nil},
		{good, ", allowNames: true", "cart.example.org", nil},
	} {
		_, err := r.client.Plan(ctx, shop(t, c.pair, c.allow, c.name), false)
		if (err == nil) != (c.faults == nil) {
			t.Errorf("%v: %v", c.faults, err)
		}
		for _, fault := range c.faults {
			if err != nil && !strings.Contains(err.Error(), fault) {
				t.Errorf("%v, want %s", err, fault)
			}
		}
	}
	soon := authority.IssueWith(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(10*24*time.Hour + time.Hour) }, certtest.NewKey(t), shopName)
	if plan, err := r.client.Plan(ctx, shop(t, soon, "", shopName), false); err != nil || len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "expires in 10 days") {
		t.Errorf("warned of %v, %v", plan.Warnings, err)
	}
}

// A station's place at the broker is not enough to have keys sealed to oneself.
func TestAKeyIsSealedToNobodyForWhomTheAccountDoesNotVouch(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	path := filepath.Join(r.Data(), "identity", "tenants", "main", "station.keys")
	if _, err := r.Station(); err != nil { // makes the key
		t.Fatal(err)
	}
	keys, err := identity.LoadStationKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	right := keys.Curve
	stranger, _, err := message.NewCurve()
	if err != nil {
		t.Fatal(err)
	}
	liar, err := station.New(station.Config{URL: r.URL(), TLS: r.TLS(), Credentials: r.creds(dev.StationUser), Trust: r.trust(),
		Curve: message.StationCurve{Curve: stranger, Account: right.Account, Voucher: right.Voucher}, Storage: subjects.Settings{LogsBytes: 1 << 28}})
	if err != nil {
		t.Fatal(err)
	}
	begin(t, liar.Ready(), liar.Run)
	r.connect()
	ctx, cancel := patient(t)
	defer cancel()
	believing, err := client.Open(ctx, client.Options{URL: r.URL(), TLS: r.TLS(), Credentials: r.creds(dev.AdminUser)}) // pins nothing
	if err != nil {
		t.Fatal(err)
	}
	defer believing.Close()
	_, err = believing.Plan(ctx, shop(t, certtest.New(t).Issue(shopName), "", shopName), false)
	kindIs(t, err, fleet.Refused)
	if err == nil || !strings.Contains(err.Error(), "not vouched for by account") {
		t.Errorf("refused with %v", err)
	}
}

// Somebody with the account's seed can vouch for a key of his own; whoever has
// the trust file seals to no other than the one in there.
func TestAPinnedKeyIsTakenAndNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	ctx, cancel := patient(t)
	defer cancel()
	other, _, err := message.NewCurve()
	if err != nil {
		t.Fatal(err)
	}
	set, err := message.OpenTrust(r.trust())
	if err != nil {
		t.Fatal(err)
	}
	admin := r.creds(dev.AdminUser)
	set.Curve, set.Signers = other.Public(), []string{admin.Key}
	others, err := message.SignTrust(set, admin)
	if err != nil {
		t.Fatal(err)
	}
	for kind, pin := range map[fleet.Kind]message.Message{"": r.trust(), fleet.Refused: others} {
		c, err := client.Open(ctx, client.Options{URL: r.URL(), TLS: r.TLS(), Credentials: admin, Trust: pin})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Plan(ctx, shop(t, certtest.New(t).Issue(shopName), "", shopName), false)
		c.Close()
		kindIs(t, err, kind)
	}
}
