package nginx_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/nginx"
)

// dryRun asks what a node's nginx would say.
func (n *node) dryRun(resources ...fleet.Resource) (nginx.Checked, error) {
	n.t.Helper()
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.DryRun(n.t.Context(), nginx.Desired{Digest: b.Digest, Address: n.address, Resources: resources})
}

func TestADryRunSaysWhatNginxSaysAndLeavesNothing(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	n.mustConverge(1, site("s", port, "one"))
	left := func() (all []string) {
		for _, dir := range []string{"versions", "pristine", "served"} {
			entries, err := os.ReadDir(filepath.Join(n.cfg.State, dir))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			for _, e := range entries {
				all = append(all, dir+"/"+e.Name())
			}
		}
		return all
	}
	before, was := left(), n.status()

	good, err := n.dryRun(site("s", port, "two"), site("t", n.freePort(), "new"))
	if err != nil || len(good.Digest) != 64 || good.Digest == was.Running || len(good.StandIns) > 0 || good.Took <= 0 {
		t.Errorf("%+v, %v", good, err)
	}
	_, err = n.dryRun(site("s", port, "two"), unreadable("broken", port))
	if fleet.KindOf(err) != fleet.Failed || !strings.Contains(err.Error(), "nginx refuses it: VirtualHost/broken") || !strings.Contains(err.Error(), "[emerg]") {
		t.Errorf("kind %s: %v", fleet.KindOf(err), err)
	}
	if same, err := n.dryRun(site("s", port, "one")); err != nil || same.Digest != was.Running {
		t.Errorf("what serves: %+v, %v", same, err)
	}
	_, err = n.DryRun(t.Context(), nginx.Desired{Digest: was.Running, Address: n.address, Resources: []fleet.Resource{site("s", port, "two")}})
	if fleet.KindOf(err) != fleet.Failed || !strings.Contains(err.Error(), "it is of another version than who asks") {
		t.Errorf("another digest: %v", err)
	}
	if s := n.status(); s.Running != was.Running || s.Disk != was.Disk || s.Revision != 1 || len(s.Quarantine) > 0 {
		t.Errorf("it runs %+v, ran %+v", s, was)
	}
	if now := left(); !slices.Equal(now, before) {
		t.Errorf("there lie %q, lay %q", now, before)
	}
	n.mustConverge(2, site("s", port, "two")) // it was not held against it
}

func TestADryRunTakesAStandInForAKeyThatIsNotThere(t *testing.T) {
	n := newNode(t)
	pair := certtest.New(t).Issue("a.example.org")
	host := resource("h", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: n.freePort(), TLS: true}}, ServerNames: []string{"a.example.org"},
		TLS: &fleet.TLS{Certificate: "a"}, Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200}}}})
	with := certificate("a", pair)
	without := certificate("a", pair)
	without.Spec.(*fleet.Certificate).SealedKey, without.Spec.(*fleet.Certificate).SealedTo = "", ""

	has, err := n.dryRun(with, host)
	if err != nil || len(has.StandIns) > 0 {
		t.Errorf("with its key: %+v, %v", has, err)
	}
	lacks, err := n.dryRun(without, host)
	if err != nil || !slices.Equal(lacks.StandIns, []string{"Certificate/a"}) || lacks.Digest != has.Digest {
		t.Errorf("without: %+v, %v", lacks, err)
	}
	broken := unreadable("broken", n.freePort())
	if _, err := n.dryRun(without, host, broken); err == nil || !strings.Contains(err.Error(), "VirtualHost/broken") {
		t.Errorf("the rest is checked all the same: %v", err)
	}
	others := certificate("a", pair)
	others.Spec.(*fleet.Certificate).SealedKey = "X.no"
	if _, err := n.dryRun(others, host); err == nil || !strings.Contains(err.Error(), "cannot open it") {
		t.Errorf("a key that is another's: %v", err)
	}
	leaksNowhere(t, filepath.Dir(n.cfg.State), pair.Key)
}

func TestADryRunOfPasswordsThatAreNotThereReadsTheRest(t *testing.T) {
	n := newNode(t)
	host := resource("h", &fleet.VirtualHost{Listen: []fleet.Listen{{Port: n.freePort()}}, ServerNames: []string{"h.example.org"},
		BasicAuth: &fleet.BasicAuth{Users: []fleet.User{{Name: "u", Fingerprint: strings.Repeat("0", 64)}}},
		Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200}}}})
	if c, err := n.dryRun(host); err != nil || len(c.StandIns) > 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
