package nginx_test

import (
	"fmt"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

func TestUpstreamsLeadWhereThePolicyLets(t *testing.T) {
	render := func(e *fleet.Egress, addresses ...string) string {
		resources := []fleet.Resource{proxied("web", 80, "app"), serversAt("app", addresses...)}
		if e != nil {
			resources = append(resources, resource("policy", &fleet.NodePolicy{Egress: e}))
		}
		_, err := nginx.Render("", resources)
		return fmt.Sprint(err)
	}
	for _, address := range []string{
		"169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:a9fe:a9fe::1]:80",
		"unix:/var/run/docker.sock", "unix:/run/containerd/containerd.sock", "unix:/run/crio/crio.sock", "unix:/run/podman/podman.sock",
	} {
		if got := render(nil, "127.0.0.1:80", address); !strings.HasPrefix(got, "Upstream/app: spec.servers[1].address: the node's policy denies ") {
			t.Errorf("%s: %s", address, got)
		}
	}
	for _, address := range []string{"127.0.0.1:80", "[::1]:80", "[fd00:ec2::253]:80", "app.example.org:80", "unix:/run/app.sock"} {
		if got := render(nil, address); got != "<nil>" {
			t.Errorf("%s: %s", address, got)
		}
	}
	own := &fleet.Egress{Deny: []string{"10.0.0.0/8"}, AllowSockets: []string{"/run/apps"}}
	for address, want := range map[string]string{
		"10.1.2.3:80": "denies upstreams at 10.0.0.0/8", "[::ffff:10.1.2.3]:80": "denies upstreams at 10.0.0.0/8",
		"unix:/run/apps2/a.sock": "allows sockets below /run/apps alone", "unix:/run/app.sock": "allows sockets below /run/apps alone",
		"169.254.1.1:80": "<nil>", "unix:/run/apps/x/a.sock": "<nil>",
	} {
		if got := render(own, address); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
