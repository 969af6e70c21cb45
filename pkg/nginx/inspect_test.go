package nginx_test

import (
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// inspected is what Inspect says of one ConfigFile.
func inspected(t *testing.T, context, content string, p fleet.NodePolicy) string {
	t.Helper()
	return nginx.Inspect(nginx.NewBundle([]nginx.File{{Path: context + ".d/configfile-x.conf", Owner: "ConfigFile/x", Content: []byte(content)}}), p).Error()
}

func TestRawConfigurationIsRefusedWithLineAndReason(t *testing.T) {
	for content, want := range map[string]string{
		"server {\n  nonsense on;\n}":        `line 2: "nonsense" is no directive that a ConfigFile may use`,
		"server {\n  listen 80\n}":           "line 3: a ; is missing before the }",
		"server { listen 80;":                `line 1: the { of "server" is never closed`,
		"} events { } http {":                "line 1: a } that nothing opened",
		"server { return 200 \"x; }":         "line 1: a quote is never closed",
		"map $a $b { \"x\"y 1; }":            "directly after a closing quote",
		"gzip on":                            `line 1: the text ends in the middle of "gzip"`,
		"listen 80;":                         `line 1: "listen" directive is not allowed here`,
		"server { server { } }":              `"server" directive is not allowed here`,
		"\n\ngzip maybe;":                    `line 3: invalid value "maybe" in "gzip" directive`,
		"server { root; }":                   `invalid number of arguments in "root" directive`,
		"include /etc/passwd;":               `"include" reads another file as root`,
		"map $a $b { include /etc/shadow; }": `"include" reads another file as root`,
		"types { include /etc/shadow; }":     `"include" reads another file as root`,
		"load_module modules/evil.so;":       `"load_module" runs a library as root: name the module in spec.modules`,
		"user root;":                         `"user" is a setting of the whole nginx`,
		"worker_processes 100000;":           `"worker_processes" is a setting of the whole nginx`,
		"perl_modules /tmp;":                 `"perl_modules" needs ngx_http_perl_module, which is off`,
		"server { location / { content_by_lua_block { os.execute('}') } } }": `needs ngx_http_lua_module, which is off`,
		"js_import x.js;":                                                         `"js_import" needs ngx_http_js_module or ngx_stream_js_module`,
		"client_body_temp_path /etc;":                                             `"client_body_temp_path" makes nginx create directories as root`,
		"proxy_store on;":                                                         `"proxy_store" lets requests write files`,
		"error_log /etc/cron.d/x;":                                                `error_log "/etc/cron.d/x" lies in no directory`,
		"access_log /srv/logs/../../etc/x;":                                       "write the path without ., ..",
		"access_log logs/x;":                                                      "write the whole path",
		"access_log /srv/logs/$host;":                                             "is put together by nginx as it runs",
		"server { ssl_certificate_key /etc/ssh/ssh_host_rsa_key; }":               `ssl_certificate_key "/etc/ssh/ssh_host_rsa_key" lies in no directory`,
		"server { ssl_certificate_key engine:x:y; }":                              "is no file",
		"ssl_conf_command PrivateKey /etc/ssh/x;":                                 "ssl_conf_command PrivateKey: only options",
		"proxy_cache_path /etc keys_zone=a:1m;":                                   `proxy_cache_path "/etc" lies in no directory`,
		"server { listen unix:/etc/x.sock; }":                                     `listen "/etc/x.sock" lies in no directory`,
		"server { location / { proxy_pass http://unix:/run/docker.sock:/; } }":    `the socket "/run/docker.sock" belongs to a service`,
		"upstream u { server unix:/var/run/docker.sock; }":                        "belongs to a service that can do anything",
		"server { location / { proxy_pass http://169.254.169.254/latest; } }":     "169.254.169.254 is link-local",
		"server { location / { proxy_pass http://[fe80::1]:80; } }":               "fe80::1 is link-local",
		"server { location / { fastcgi_pass 169.254.170.2:80; } }":                "169.254.170.2 is link-local",
		"server { location ~ ^(a+)+$ { return 200; } }":                           `"^(a+)+$" repeats "(a+)", which itself repeats`,
		"server { rewrite ^/(x*)*$ /y; }":                                         `repeats "(x*)"`,
		"map $uri $z { ~*(a+)+$ 1; }":                                             `repeats "(a+)"`,
		"limit_req_zone $uri zone=a:200g rate=1r/s;":                              "need more than 1 GiB",
		"variables_hash_max_size 4000000000;":                                     "use at most 1048576",
		"\xef\xbb\xbfgzip on;":                                                    "begins with a byte order mark",
		"g\x00z\x00":                                                              "holds a NUL byte",
		"\xff\xfeg\x00":                                                           "is UTF-16",
		"\x7fELF\xb0":                                                             "is not valid UTF-8",
		strings.Repeat("server { location / { ", 20) + strings.Repeat("} } ", 20): "blocks are nested more than 16 deep",
		"set $a " + strings.Repeat("x", 5000) + ";":                               "is longer than 4096 bytes",
	} {
		if got := inspected(t, "http", content, fleet.NodePolicy{}); !strings.Contains(got, want) || !strings.HasPrefix(got, "ConfigFile/x: spec.content: ") {
			t.Errorf("%.60q: got %q, want %q", content, got, want)
		}
	}
}

func TestRawConfigurationThatHarmsNobodyPasses(t *testing.T) {
	policy := fleet.NodePolicy{Modules: []string{"ngx_http_lua_module", "ngx_http_perl_module"}, Directories: []string{"/srv/site"},
		Egress: &fleet.Egress{AllowSockets: []string{"/run/php"}}}
	for content, p := range map[string]fleet.NodePolicy{
		"# nothing\r\ngzip on;\r\n":                                 {},
		"map $http_x $y { default 0; ~^a+$ 1; server 2; \"}\" 3; }": {},
		"server { listen 80; server_name a; if ($a ~ \"^x{2}$\") { return 200 \"${uri}{;}\"; } location / { proxy_pass http://u$is_args; } }": {},
		"types { text/html html; }\ngeo $g { default 0; 10.0.0.0/8 1; }\nsplit_clients $a $b { 50% x; * y; }":                                 {},
		"limit_req_zone $binary_remote_addr zone=z:10m rate=1r/s;\nlog_format x '$uri';\naccess_log syslog:server=127.0.0.1 x;":               {},
		"server { listen 80 proxy_protocol; http2 on; ssl_certificate /srv/site/a.crt; ssl_certificate_key /srv/site/a.key; }":                policy,
		"server { location / { fastcgi_pass unix:/run/php/fpm.sock; perl 'sub { }'; content_by_lua_block { if x then y{1} end } } }":          policy,
		"proxy_cache_path /srv/site/cache keys_zone=c:1m;":                                                                                    policy,
	} {
		if got := inspected(t, "http", content, p); got != "" {
			t.Errorf("%q: %s", content, got)
		}
	}
	if got := inspected(t, "stream", "upstream u { server 10.0.0.1:53; }\nserver { listen 53 udp; proxy_pass u; }", fleet.NodePolicy{}); got != "" {
		t.Error(got)
	}
}

// A directive that crossplane learns with a newer version is to be looked at
// by a person: it goes to allowed.txt or to one of the lists in directives.go.
func TestEveryAllowedDirectiveIsKnownAndNoneTouchesTheHost(t *testing.T) {
	names := nginx.AllowedDirectives()
	if !slices.IsSorted(names) {
		t.Error("allowed.txt is not sorted")
	}
	for _, name := range names {
		if nginx.IsRefused(name) || !nginx.IsKnown(name) {
			t.Errorf("%s is allowed, and refused or unknown", name)
		}
		for _, part := range []string{"_temp_path", "_store", "worker_", "perl", "lua", "js_", "module", "dav_"} {
			if strings.Contains(name, part) && name != "worker_shutdown_timeout" {
				t.Errorf("%s is allowed", name)
			}
		}
	}
}
