package fleet_test

import (
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

// shop is a host with everything, to spoil one value at a time.
func shop() *fleet.VirtualHost {
	return &fleet.VirtualHost{
		Listen:      []fleet.Listen{{Port: 443, TLS: true, HTTP2: true, ProxyProtocol: &fleet.ProxyProtocol{From: []string{"10.0.0.0/8", "2001:db8::1"}}}, {Port: 80}},
		ServerNames: []string{"www.example.org"},
		TLS: &fleet.TLS{Certificate: "www", Versions: []string{"TLSv1.3"}, Ciphers: []string{"HIGH", "!aNULL"}, RedirectHTTP: 301,
			HSTS: &fleet.HSTS{MaxAge: "8760h", IncludeSubDomains: true, Preload: true}},
		Rewrites:   []fleet.Rewrite{{Match: `^/a/(\d+)$`, To: "/b/$1?x=y", Flag: "last"}},
		Access:     []fleet.AddressRule{{Allow: "10.0.0.0/8"}, {Deny: "all"}},
		BasicAuth:  &fleet.BasicAuth{Realm: "it's ours", Users: []fleet.User{{Name: "alice", Hash: "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="}}},
		CORS:       &fleet.CORS{Origins: []string{"https://a.example"}, Methods: []string{"PUT"}, Headers: []string{"X-T"}, ExposeHeaders: []string{"X-E"}, Credentials: true, MaxAge: "1h"},
		Gzip:       &fleet.Gzip{Types: []string{"text/css"}, Level: 5, MinLength: "1k"},
		Limits:     &fleet.Limits{MaxBodySize: "0", BodyBuffer: "1m", BodyTimeout: "1s", SendTimeout: "1s", HeaderTimeout: "1s", Keepalive: "0s", HeaderBuffers: &fleet.HeaderBuffers{Number: 4, Size: "8k"}},
		ErrorPages: []fleet.ErrorPage{{Codes: []int{404}, Path: "/404"}, {Codes: []int{502}, Text: "back soon; {}", ContentType: "text/html"}},
		Policies:   []string{"guests"},
		Log:        &fleet.Log{Target: "file", Format: "json", Fields: []string{"status"}, Percent: 10},
		Locations: []fleet.Location{
			{Path: "/", Root: "/srv/www", TryFiles: []string{"$uri", "$uri/", "$uri.html", "/index.html"}},
			{Path: "/f/", Alias: "/srv/f/", Index: []string{"i.html"}},
			{Path: "/p/", Proxy: &fleet.Proxy{Upstream: "app", Scheme: "https", Path: "/v1/", TLS: &fleet.ProxyTLS{Name: "app.example.org", Verify: true},
				HideHeaders: []string{"X-H"}, Timeouts: &fleet.Timeouts{Connect: "1s", Send: "1ms", Read: "1h"}, Buffering: &fleet.Buffering{Buffers: 8, Size: "8k"},
				NextUpstream: &fleet.NextUpstream{On: []string{"error", "http_502"}, Tries: 2, Timeout: "1s"}},
				Cache: &fleet.Cache{Size: "1m", MaxSize: "10m", Inactive: "1h", Valid: []fleet.CacheValid{{Codes: []int{200}, Time: "1m"}, {Time: "1s"}}, Key: []string{"host", "path", "header:Accept"},
					Bypass: []string{"cookie:a"}, NoStore: []string{"header:X-N"}, UseStale: []string{"updating"}}},
			{Path: "/s", Proxy: &fleet.Proxy{Split: "ab"}},
		},
	}
}

func TestAHostWithEverythingHasNoFaultAndNamesItsNeeds(t *testing.T) {
	r := fleet.Resource{APIVersion: fleet.APIVersion, Kind: "VirtualHost", Metadata: fleet.Metadata{Name: "shop"}, Spec: shop()}
	if faults := r.Validate(); faults != nil {
		t.Error(faults)
	}
	var needs []string
	for _, n := range shop().Needs() {
		needs = append(needs, n.ID()+" "+n.Path)
	}
	want := []string{"Certificate/www spec.tls.certificate", "Policy/guests spec.policies[0]", "Upstream/app spec.locations[2].proxy.upstream", "Split/ab spec.locations[3].proxy.split"}
	if !reflect.DeepEqual(needs, want) {
		t.Errorf("needs %q, want %q", needs, want)
	}
}

func TestEachWrongFeatureIsFoundAtItsPath(t *testing.T) {
	type host = fleet.VirtualHost
	long := strings.Repeat("a", 5000)
	cases := map[string][]func(*host){
		"spec.listen[1].http2":                     {func(h *host) { h.Listen[1].HTTP2 = true }},
		"spec.listen[0].proxyProtocol.from":        {func(h *host) { h.Listen[0].ProxyProtocol.From = nil }},
		"spec.listen[0].proxyProtocol.from[0]":     {func(h *host) { h.Listen[0].ProxyProtocol.From[0] = "10.0.0.1/8" }, func(h *host) { h.Listen[0].ProxyProtocol.From[0] = "all; }" }},
		"spec.tls":                                 {func(h *host) { h.TLS = nil }},
		"spec.tls.certificate":                     {func(h *host) { h.TLS.Certificate = "" }, func(h *host) { h.TLS.Certificate = "../x" }},
		"spec.tls.versions[0]":                     {func(h *host) { h.TLS.Versions[0] = "SSLv3" }, func(h *host) { h.TLS.Versions[0] = "TLSv1.1" }},
		"spec.tls.ciphers[0]":                      {func(h *host) { h.TLS.Ciphers[0] = "HIGH:;" }, func(h *host) { h.TLS.Ciphers[0] = "" }},
		"spec.tls.ciphers":                         {func(h *host) { h.TLS.Ciphers[0] = "off" }, func(h *host) { h.TLS.Ciphers[0] = "ECDHE+NONE" }, func(h *host) { h.TLS.Ciphers = h.TLS.Ciphers[1:] }},
		"spec.tls.redirectHTTP":                    {func(h *host) { h.TLS.RedirectHTTP = 302 }, func(h *host) { h.Listen = h.Listen[:1] }},
		"spec.tls.hsts.maxAge":                     {func(h *host) { h.TLS.HSTS.MaxAge = "1y" }},
		"spec.tls.hsts.preload":                    {func(h *host) { h.TLS.HSTS.MaxAge = "1h" }, func(h *host) { h.TLS.HSTS.IncludeSubDomains = false }},
		"spec.rewrites[0].match":                   {func(h *host) { h.Rewrites[0].Match = "(a+)+(b)" }, func(h *host) { h.Rewrites[0].Match = "(a" }},
		"spec.rewrites[0].to":                      {func(h *host) { h.Rewrites[0].To = "/b/$2" }, func(h *host) { h.Rewrites[0].To = "http://evil" }, func(h *host) { h.Rewrites[0].To = "/$host" }, func(h *host) { h.Rewrites[0].To = "//x" }, func(h *host) { h.Rewrites[0].To = "/a b" }},
		"spec.rewrites[0].flag":                    {func(h *host) { h.Rewrites[0].Flag = "permanent" }},
		"spec.access[0]":                           {func(h *host) { h.Access[0].Allow = "10.0.0.0/8; }" }, func(h *host) { h.Access[0].Deny = "all" }},
		"spec.basicAuth.realm":                     {func(h *host) { h.BasicAuth.Realm = "off" }, func(h *host) { h.BasicAuth.Realm = `a"b` }, func(h *host) { h.BasicAuth.Realm = "$x" }},
		"spec.basicAuth.users":                     {func(h *host) { h.BasicAuth.Users = nil }},
		"spec.basicAuth.users[0].name":             {func(h *host) { h.BasicAuth.Users[0].Name = "a:b" }, func(h *host) { h.BasicAuth.Users[0].Name = "a\nroot" }},
		"spec.basicAuth.users[0].hash":             {func(h *host) { h.BasicAuth.Users[0].Hash = "secret" }, func(h *host) { h.BasicAuth.Users[0].Hash = "{PLAIN}secret" }, func(h *host) { h.BasicAuth.Users[0].Hash = "$2y$31$" + strings.Repeat("a", 53) }},
		"spec.cors.origins":                        {func(h *host) { h.CORS.Origins = nil }},
		"spec.cors.origins[0]":                     {func(h *host) { h.CORS.Origins[0] = "https://a.example/" }, func(h *host) { h.CORS.Origins[0] = "null" }, func(h *host) { h.CORS.Origins[0] = "https://*.a.example" }, func(h *host) { h.CORS.Origins[0] = "https://a.example:443" }},
		"spec.cors.credentials":                    {func(h *host) { h.CORS.Origins[0] = "*" }},
		"spec.cors.methods[0]":                     {func(h *host) { h.CORS.Methods[0] = "put" }},
		"spec.cors.headers[0]":                     {func(h *host) { h.CORS.Headers[0] = "X\"" }},
		"spec.gzip.types[0]":                       {func(h *host) { h.Gzip.Types[0] = "*" }, func(h *host) { h.Gzip.Types[0] = "text/css; }" }},
		"spec.gzip.level":                          {func(h *host) { h.Gzip.Level = 10 }},
		"spec.gzip.off":                            {func(h *host) { h.Gzip.Off = true }},
		"spec.limits.maxBodySize":                  {func(h *host) { h.Limits.MaxBodySize = "1g" }},
		"spec.limits.headerBuffers.size":           {func(h *host) { h.Limits.HeaderBuffers.Size = "10m" }},
		"spec.errorPages[0].codes[0]":              {func(h *host) { h.ErrorPages[0].Codes[0] = 444 }},
		"spec.errorPages[1].codes[0]":              {func(h *host) { h.ErrorPages[1].Codes[0] = 404 }},
		"spec.errorPages[0]":                       {func(h *host) { h.ErrorPages[0].Path = "" }, func(h *host) { h.ErrorPages[0].Text = "x" }},
		"spec.errorPages[0].path":                  {func(h *host) { h.ErrorPages[0].Path = "=200" }},
		"spec.errorPages[1].text":                  {func(h *host) { h.ErrorPages[1].Text = long }},
		"spec.policies[0]":                         {func(h *host) { h.Policies[0] = "a b" }},
		"spec.log.target":                          {func(h *host) { h.Log.Target = "/etc/passwd" }},
		"spec.log.fields[0]":                       {func(h *host) { h.Log.Fields[0] = "http_authorization" }, func(h *host) { h.Log.Fields[0] = "$status" }},
		"spec.log.percent":                         {func(h *host) { h.Log.Percent = 101 }},
		"spec.locations[0].tryFiles[0]":            {func(h *host) { h.Locations[0].TryFiles[0] = "$host" }, func(h *host) { h.Locations[0].TryFiles[0] = "/../etc" }, func(h *host) { h.Locations[0].TryFiles[0] = "=404" }},
		"spec.locations[0].tryFiles[3]":            {func(h *host) { h.Locations[0].TryFiles[3] = "@x" }, func(h *host) { h.Locations[0].TryFiles[3] = "$uri" }},
		"spec.locations[1].tryFiles":               {func(h *host) { h.Locations[1].TryFiles = []string{"$uri", "=404"} }},
		"spec.locations[1].alias":                  {func(h *host) { h.Locations[1].Alias = "/srv/f" }, func(h *host) { h.Locations[1].Path = "/f" }, func(h *host) { h.Locations[1].Match = "regex" }, func(h *host) { h.Locations[1].Alias = "/srv/../etc/" }},
		"spec.locations[2].proxy":                  {func(h *host) { h.Locations[2].Proxy.Split = "ab" }},
		"spec.locations[2].proxy.scheme":           {func(h *host) { h.Locations[2].Proxy.Scheme = "ftp"; h.Locations[2].Proxy.TLS = nil }},
		"spec.locations[2].proxy.tls":              {func(h *host) { h.Locations[2].Proxy.Scheme = "" }},
		"spec.locations[2].proxy.tls.name":         {func(h *host) { h.Locations[2].Proxy.TLS.Name = "" }, func(h *host) { h.Locations[2].Proxy.TLS.Name = "$host" }},
		"spec.locations[2].proxy.tls.ca":           {func(h *host) { h.Locations[2].Proxy.TLS.CA = "/etc/ssl/ca.pem" }},
		"spec.locations[2].proxy.path":             {func(h *host) { h.Locations[2].Proxy.Path = "/$uri" }, func(h *host) { h.Locations[2].Proxy.Path = "/../" }, func(h *host) { h.Locations[2].Rewrites = h.Rewrites }},
		"spec.locations[2].proxy.hideHeaders[0]":   {func(h *host) { h.Locations[2].Proxy.HideHeaders[0] = "X;" }},
		"spec.locations[2].proxy.timeouts.connect": {func(h *host) { h.Locations[2].Proxy.Timeouts.Connect = "76s" }},
		"spec.locations[2].proxy.buffering.size":   {func(h *host) { h.Locations[2].Proxy.Buffering.Size = "0" }},
		"spec.locations[2].proxy.nextUpstream.on":  {func(h *host) { h.Locations[2].Proxy.NextUpstream.On[0] = "off" }},
		"spec.locations[2].cache":                  {func(h *host) { h.Locations[2].Proxy.Buffering.Off = true }, func(h *host) { h.Locations[2].Proxy.Websocket = true }},
		"spec.locations[2].cache.maxSize":          {func(h *host) { h.Locations[2].Cache.MaxSize = "1g" }},
		"spec.locations[2].cache.key":              {func(h *host) { h.Locations[2].Cache.Key = []string{"host"} }},
		"spec.locations[2].cache.key[0]":           {func(h *host) { h.Locations[2].Cache.Key[0] = "$host" }},
		"spec.locations[2].cache.bypass[0]":        {func(h *host) { h.Locations[2].Cache.Bypass[0] = "cookie:a-b" }},
		"spec.locations[2].cache.useStale[0]":      {func(h *host) { h.Locations[2].Cache.UseStale[0] = "off" }},
		"spec.locations[2].limits.headerTimeout":   {func(h *host) { h.Locations[2].Limits = &fleet.Limits{HeaderTimeout: "1s"} }},
		"spec.locations[3].cache": {func(h *host) {
			h.Locations[3].Proxy, h.Locations[3].Cache, h.Locations[3].Root = nil, &fleet.Cache{}, "/srv"
		}},
	}
	for path, spoilers := range cases {
		for i, spoil := range spoilers {
			h := shop()
			spoil(h)
			if faults := h.Validate(); len(faults) != 1 || faults[0].Path != path {
				t.Errorf("%s, case %d gives %q, want one fault there", path, i, faults.Error())
			} else if strings.Contains(faults[0].Message, "secret") {
				t.Errorf("%s tells the password: %s", path, faults[0].Message)
			}
		}
	}
}

func TestListsOfAHostAreBounded(t *testing.T) {
	h := shop()
	for range 1001 {
		h.Locations = append(h.Locations, fleet.Location{Path: "/x" + strings.Repeat("y", len(h.Locations)%900), Root: "/srv"})
	}
	found := false
	for _, f := range h.Validate() {
		found = found || f.Path == "spec.locations" && f.Message == "holds 1005: use at most 1000"
	}
	if !found {
		t.Error("1005 locations are taken")
	}
}

func TestHashesOfPasswordsAreTold(t *testing.T) {
	for _, good := range []string{"$2y$05$" + strings.Repeat("a", 53), "$apr1$hUTTN4Uj$EzMsHRqWLaVaNhTVEyNKD.", "$6$salt$" + strings.Repeat("a", 86),
		"$5$rounds=5000$salt$" + strings.Repeat("a", 43), "{SSHA}" + "MTIzNDU2Nzg5MDEyMzQ1Njc4OTBzYWx0"} {
		if !fleet.PasswordHash(good) {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{"", "plain", "{SHA}", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nroot:x", "$1$salt$hash", "$2y$05$short", "$6$a:b$" + strings.Repeat("a", 86)} {
		if fleet.PasswordHash(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}
