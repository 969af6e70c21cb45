package fleet_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

func TestServerAddressesAreHostPortOrSocket(t *testing.T) {
	for _, address := range []string{"127.0.0.1:80", "[2001:db8::1]:80", "app.example.org:8080", "app_1:1", "unix:/run/app.sock", "localhost:65535"} {
		u := fleet.Upstream{Servers: []fleet.Server{{Address: address}}}
		if faults := u.Validate(); len(faults) > 0 {
			t.Errorf("%q is refused: %v", address, faults)
		}
	}
	for _, address := range []string{
		"", "a", "a:0", "a:65536", "a:x", "a:080", "a:+80", ":80", "2001:db8::1:80", "[a]:80", "[127.0.0.1]:80", "[fe80::1%eth0]:80", "300.1.1.1:80",
		"a b:80", "a;:80", "a:80; }", "$host:80", "a:80\n", "http://a:80", "unix:run/app.sock", "unix:/a/../b", "unix:/a:b", "unix:/", "unix:/" + strings.Repeat("a", 107), "-a:80",
	} {
		u := fleet.Upstream{Servers: []fleet.Server{{Address: address}}}
		if faults := u.Validate(); len(faults) != 1 || faults[0].Path != "spec.servers[0].address" {
			t.Errorf("%.40q gives %v, want one fault", address, faults)
		}
	}
}

func TestUpstreamBoundsAreChecked(t *testing.T) {
	fails := func(n int) *int { return &n }
	a := fleet.Server{Address: "a:1"}
	for path, u := range map[string]fleet.Upstream{
		"spec.strategy":               {Servers: []fleet.Server{a}, Strategy: "least_conn"},
		"spec.keepalive":              {Servers: []fleet.Server{a}, Keepalive: -1},
		"spec.keepaliveRequests":      {Servers: []fleet.Server{a}, Keepalive: 1, KeepaliveRequests: -1},
		"spec.keepaliveTimeout":       {Servers: []fleet.Server{a}, Keepalive: 1, KeepaliveTimeout: "1s; }"},
		"spec.hash":                   {Servers: []fleet.Server{a}, Strategy: "hash"},
		"spec.hash.by":                {Servers: []fleet.Server{a}, Strategy: "hash", Hash: &fleet.Hash{By: "$request_uri"}},
		"spec.hash.name":              {Servers: []fleet.Server{a}, Strategy: "hash", Hash: &fleet.Hash{By: "cookie", Name: "a;b"}},
		"spec.check.status[0]":        {Servers: []fleet.Server{a}, Check: &fleet.Check{Status: []string{"399-200"}}},
		"spec.check.path":             {Servers: []fleet.Server{a}, Check: &fleet.Check{Path: "/a b\r\nX: y"}},
		"spec.check.host":             {Servers: []fleet.Server{a}, Check: &fleet.Check{Host: "a\r\nb"}},
		"spec.check.interval":         {Servers: []fleet.Server{a}, Check: &fleet.Check{Interval: "1ms"}},
		"spec.check.port":             {Servers: []fleet.Server{{Address: "unix:/run/a.sock"}}, Check: &fleet.Check{Port: 80}},
		"spec.servers":                {},
		"spec.servers[1]":             {Servers: []fleet.Server{a, {Address: "A:1"}}},
		"spec.servers[0].weight":      {Servers: []fleet.Server{{Address: "a:1", Weight: 1001}}},
		"spec.servers[0].maxFails":    {Servers: []fleet.Server{{Address: "a:1", MaxFails: fails(-1)}}},
		"spec.servers[0].failTimeout": {Servers: []fleet.Server{{Address: "a:1", FailTimeout: "soon"}}},
		"spec.servers[0].maxConns":    {Servers: []fleet.Server{{Address: "a:1", MaxConns: -1}}},
		"spec.servers[1].backup":      {Servers: []fleet.Server{a, {Address: "b:1", Backup: true}}, Strategy: "ipHash"},
	} {
		if faults := u.Validate(); len(faults) != 1 || faults[0].Path != path {
			t.Errorf("%s gives %v, want one fault there", path, faults)
		}
	}
	u := fleet.Upstream{Servers: []fleet.Server{{Address: "a:1", Backup: true}}}
	if faults := u.Validate(); len(faults) != 1 {
		t.Errorf("backups alone give %v, want one fault", faults)
	}
	u = fleet.Upstream{Servers: []fleet.Server{a, {Address: "b:1", Backup: true, MaxFails: fails(0), Weight: 1000}}, Strategy: "leastConn", Keepalive: 8}
	if faults := u.Validate(); len(faults) > 0 {
		t.Errorf("a good upstream has %v", faults)
	}
}

func TestConfigFilesAreText(t *testing.T) {
	for _, content := range []string{"gzip on;\r\ngzip_types text/css;\r\n", "# ü\n", "\t", strings.Repeat("#", fleet.MaxContent)} {
		c := fleet.ConfigFile{Context: "stream", Content: content}
		if want := strings.TrimSpace(content) == ""; (len(c.Validate()) > 0) != want {
			t.Errorf("%.20q gives %v", content, c.Validate())
		}
	}
	for _, content := range []string{"", "\ufeffgzip on;", "\xff\xfeg\x00", "\xfe\xff\x00g", "g\x00", "caf\xe9", strings.Repeat("#", fleet.MaxContent+1)} {
		c := fleet.ConfigFile{Context: "http", Content: content}
		if faults := c.Validate(); len(faults) != 1 || faults[0].Path != "spec.content" {
			t.Errorf("%.20q gives %v, want one fault", content, faults)
		}
	}
	for _, context := range []string{"", "main", "HTTP"} {
		c := fleet.ConfigFile{Context: context, Content: "#"}
		if faults := c.Validate(); len(faults) != 1 || faults[0].Path != "spec.context" {
			t.Errorf("context %q gives %v, want one fault", context, faults)
		}
	}
}

func TestKeepaliveSettingsWithoutKeepaliveAreAFault(t *testing.T) {
	u := fleet.Upstream{Servers: []fleet.Server{{Address: "a:1"}}, KeepaliveTimeout: "30s"}
	if faults := u.Validate(); len(faults) != 1 || faults[0].Path != "spec.keepalive" {
		t.Errorf("got %v", faults)
	}
}

func TestBackupsGoWithNoStrategyThatHasNone(t *testing.T) {
	for _, strategy := range []string{"ipHash", "hash", "random"} {
		u := fleet.Upstream{Strategy: strategy, Servers: []fleet.Server{{Address: "a:1"}, {Address: "b:1", Backup: true}}}
		if strategy == "hash" {
			u.Hash = &fleet.Hash{By: "header", Name: "X-User"}
		}
		if faults := u.Validate(); len(faults) != 1 || faults[0].Path != "spec.servers[1].backup" {
			t.Errorf("%s: %v", strategy, faults)
		}
	}
}

func FuzzStatusRangesAreThreeDigits(f *testing.F) {
	f.Add("200-399")
	f.Add("99")
	f.Fuzz(func(t *testing.T, text string) {
		least, most, err := fleet.StatusRange(text)
		if err == nil && (least < 100 || most > 599 || least > most) {
			t.Errorf("%q is %d to %d", text, least, most)
		}
	})
}
