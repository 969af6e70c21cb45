package nginx_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/nginx"
)

func TestACertificateThatCannotBeOpenedHoldsBackItsHostsAlone(t *testing.T) {
	n := newNode(t)
	a := certtest.New(t)
	over := func(name, certificate string, port int) fleet.Resource {
		return resource(name, &fleet.VirtualHost{Listen: []fleet.Listen{{Port: port, TLS: true}}, ServerNames: []string{name + ".example.org"},
			TLS: &fleet.TLS{Certificate: certificate}, Locations: []fleet.Location{{Path: "/", Return: &fleet.Return{Code: 200, Text: name}}}})
	}
	port := n.freePort()
	good, bad := certificate("good", a.Issue("a.example.org")), certificate("bad", a.Issue("b.example.org"))
	bad.Spec.(*fleet.Certificate).SealedKey = "X.other"
	resources := []fleet.Resource{good, bad, over("a", "good", port), over("b", "bad", port), site("s", n.freePort(), "plain")}
	b, err := nginx.Render(n.address, resources)
	if err != nil {
		t.Fatal(err)
	}
	o, err := n.Converge(t.Context(), nginx.Desired{Revision: 1, Digest: b.Digest, Address: n.address, Resources: resources})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range o.Resources {
		want := nginx.Serving
		if strings.HasPrefix(r.Resource, "Certificate/bad") || r.Resource == "VirtualHost/b" {
			want = nginx.LeftOut
		}
		if r.State != want {
			t.Errorf("%v, want %s", r, want)
		}
	}
	t.Log(o.Summary())
}
