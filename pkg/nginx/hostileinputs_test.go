package nginx_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/nginx"
)

// hostileInputs are those of docs/nginx.md, for the node n whose site listens
// on port. What n needs on disk for them lies beside its state; another
// process holds a port.
func hostileInputs(t *testing.T, n *node, port, held int) []hostileInput {
	dir := filepath.Dir(n.cfg.State)
	declared := resource("p", &fleet.NodePolicy{Directories: []string{dir}})
	bad := func(content string) []fleet.Resource { return []fleet.Resource{raw("bad", content)} }
	server := func(directives string) fleet.Resource {
		return raw("bad", "server { listen "+n.address+":1; "+directives+" }")
	}
	named := func(resource, serverName, address string, port int) fleet.Resource {
		r := site(resource, port, "x")
		h := r.Spec.(*fleet.VirtualHost)
		h.Listen[0].Address, h.ServerNames = address, []string{serverName}
		return r
	}
	const included = `"include" reads another file`
	authority := certtest.New(t)
	good, other := authority.Issue("tls.example.org"), authority.Issue("other.example.org")
	old := authority.IssueWith(expired, certtest.NewKey(t), "tls.example.org")
	zone := func(key string) string { return "limit_req_zone " + key + " zone=z:1m rate=1r/s;" }
	cache := func(path string) string { return "proxy_cache_path DIR/" + path + " keys_zone=c:1m;" }
	cached := func(path string) fleet.Resource { return raw("zone", strings.ReplaceAll(cache(path), "DIR", dir)) }
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, "server { listen ADDRESS:PORT; server_name h%d; }\n", i)
	}

	return []hostileInput{
		{row: 1, name: "byte order mark", naive: refused("\xef\xbb\xbfgzip on;", "unknown directive \"\xef\xbb\xbfgzip\""),
			bad: bad("\xef\xbb\xbfgzip on;"), held: "ConfigFile/bad", says: "byte order mark"},
		{row: 1, name: "UTF-16", naive: refused("\xff\xfeg\x00z\x00", "unexpected end of file"),
			bad: bad("\xff\xfeg\x00z\x00"), held: "ConfigFile/bad", says: "is UTF-16"},
		{row: 1, name: "NUL", naive: refused("gzip on;\x00", "unexpected end of file"),
			bad: bad("gzip on;\x00"), held: "ConfigFile/bad", says: "NUL byte"},
		{row: 1, name: "binary", naive: refused("\x7fELF\x01\xb0\xff", "unexpected end of file"),
			bad: bad("\x7fELF\x01\xb0\xff"), held: "ConfigFile/bad", says: "not valid UTF-8"},

		{row: 2, name: "file that includes itself", naive: kills,
			bad: bad("include http.d/configfile-bad.conf;"), held: "ConfigFile/bad", says: included},

		{row: 3, name: "include of a FIFO", naive: wedges, bad: bad("include " + dir + "/fifo;"), held: "ConfigFile/bad", says: included},
		{row: 3, name: "include of a directory", naive: refused("include DIR/temp;", "(21: Is a directory)"),
			bad: bad("include " + dir + ";"), held: "ConfigFile/bad", says: included},
		// It reads nothing and says nothing: whatever was to be there is not.
		{row: 3, name: "include of a device", naive: taken("include /dev/zero;", func(b *bare) { b.answers("200 new") }),
			bad: bad("include /dev/zero;"), held: "ConfigFile/bad", says: included},
		{row: 3, name: "certificate that is a FIFO", naive: func(b *bare) {
			must(b.t, syscall.Mkfifo(filepath.Join(b.dir, "fifo"), 0o600))
			b.put("server { listen ADDRESS:1 ssl; ssl_certificate DIR/fifo; ssl_certificate_key DIR/fifo; }")
			b.wantStuckAt("fifo")
		}, bad: []fleet.Resource{declared, server("ssl_certificate " + dir + "/fifo; ssl_certificate_key " + dir + "/fifo;")},
			held: "ConfigFile/bad", says: "is a named pipe, not a regular file"},

		{row: 4, name: "include that leaves the version", naive: func(b *bare) {
			b.write("secret", "hunter2 is the password;\n")
			b.put("include DIR/secret;")
			b.wantRefused(`unknown directive "hunter2"`)
		}, bad: bad("include " + dir + "/secret;"), held: "ConfigFile/bad", says: included},
		{row: 4, name: "certificate that leaves the version", naive: stealsKey("private.key"),
			bad: []fleet.Resource{server("ssl_certificate " + dir + "/secret; ssl_certificate_key " + dir + "/secret;")}, held: "ConfigFile/bad", says: "lies in no directory"},
		{row: 4, name: "symbolic link that leads out", naive: stealsKey("link.key"),
			bad: []fleet.Resource{declared, server("ssl_certificate " + dir + "/link; ssl_certificate_key " + dir + "/link;")}, held: "ConfigFile/bad", says: "leads out of"},

		{row: 5, name: "include of nothing", naive: func(b *bare) { // the site is gone
			b.main("DIR/conf.d/*.conf", "DIR/config.d/*.conf")
			b.wantTaken()
			eventually(b.t, "the site is gone", func() bool { return strings.Contains(b.get(b.port, "web.example.org", "/"), "refused") })
		}, bad: bad("include /no/such/*.conf;"), held: "ConfigFile/bad", says: included},

		{row: 6, name: "library of anybody", naive: func(b *bare) {
			b.library()
			b.main("events", "load_module DIR/any.so;\nevents")
			b.wantRefused(`"ngx_modules" failed`)
			b.ranAsRoot()
		}, bad: bad("load_module " + dir + "/any.so;"), held: "ConfigFile/bad", says: "spec.modules"},

		{row: 7, name: "Perl", naive: func(b *bare) { // at nginx -t
			b.module("ngx_http_perl")
			b.put(`server { listen ADDRESS:1; location / { perl 'sub { BEGIN { open(my $f, ">", "DIR/ran") } }'; } }`)
			b.wantSilent()
			b.ranAsRoot()
		}, bad: []fleet.Resource{server("location / { perl 'sub { }'; }")}, held: "ConfigFile/bad", says: "needs ngx_http_perl_module, which is off"},
		{row: 7, name: "Lua", naive: func(b *bare) { // at the reload
			b.module("ndk_http", "ngx_http_lua")
			b.put(`init_by_lua_block { io.open("DIR/ran", "w"):close() }`)
			b.wantTaken()
			b.ranAsRoot()
		}, bad: []fleet.Resource{server("location / { content_by_lua_block { os.execute('x') } }")}, held: "ConfigFile/bad", says: "needs ngx_http_lua_module, which is off"},
		// njs compiles as nginx reads its configuration, and runs nothing of a
		// script before a request: then it is a worker's, and any file that workers
		// may read is anybody's.
		{row: 7, name: "njs", naive: func(b *bare) {
			b.module("ngx_http_js")
			b.write("x.js", `export default { read: r => r.return(200, require("fs").readFileSync("/etc/passwd")) };`)
			b.put("js_import x from DIR/x.js; server { listen ADDRESS:PORT; server_name app.example.org; location / { js_content x.read; } }")
			b.wantTaken()
			b.hands("root:")
		}, bad: bad("js_import x.js;"), held: "ConfigFile/bad", says: "js_module"},

		{row: 8, name: "temporary files", naive: givesAway, bad: bad("client_body_temp_path " + dir + "/given;"), held: "ConfigFile/bad", says: "as root"},
		{row: 8, name: "log", naive: func(b *bare) {
			b.put("error_log DIR/ran;")
			b.wantSilent()
			b.ranAsRoot()
		}, bad: bad("error_log /etc/cron.d/x;"), held: "ConfigFile/bad", says: "lies in no directory"},
		{row: 8, name: "pid file", naive: func(b *bare) {
			b.write("precious", "what others need\n")
			b.main("DIR/nginx.pid", "DIR/precious")
			b.wantTaken()
			if hasText(filepath.Join(b.dir, "precious"), "others") {
				b.t.Error("the file is as it was")
			}
		}, bad: bad("pid /etc/hostname;"), held: "ConfigFile/bad", says: "a setting of the whole nginx"},

		{row: 9, name: "second default server", naive: refused(strings.Repeat("server { listen ADDRESS:1 default_server; }\n", 2), "a duplicate default server"),
			bad: []fleet.Resource{named("one", "_", "", port), named("two", "_", "", port)}, held: "VirtualHost/two", says: "VirtualHost/one is the default host of"},
		{row: 9, name: "second default server in raw configuration", naive: refused("server { listen ADDRESS:PORT default_server; }\nserver { listen ADDRESS:PORT default_server; }", "a duplicate default server"),
			bad: bad(fmt.Sprintf("server { listen %s:%d default_server; }", n.address, port)), held: "ConfigFile/bad", says: "a duplicate default server"},
		{row: 9, name: "the same name twice", naive: steals, bad: []fleet.Resource{named("web2", "web.example.org", "", port)},
			held: "VirtualHost/web2", says: "VirtualHost/web answers to web.example.org"},
		{row: 9, name: "the same name in raw configuration", naive: steals,
			bad: bad(fmt.Sprintf("server { listen %s:%d; server_name web.example.org; }", n.address, port)), held: "ConfigFile/bad", says: "conflicting server name"},

		{row: 10, name: "name that does not resolve", naive: refused("server { listen ADDRESS:1; location / { proxy_pass http://no-such-name.invalid; } }", `host not found in upstream "no-such-name.invalid"`),
			bad: []fleet.Resource{server("location / { proxy_pass http://no-such-name.invalid; }")}, held: "ConfigFile/bad", says: "no-such-name.invalid does not resolve here"},
		{row: 10, name: "DNS that does not answer", naive: waitsForDNS, do: func(n *node, revision uint64) string {
			dns := newDNS(n.t, n.address)
			dns.silent()
			o := n.mustConverge(revision, dns.policy(), proxied("app", port, "app"), serversAt("app", "app.example.org:80"),
				site("web", port, strings.TrimPrefix(n.get(port, "web.example.org", "/"), "200 ")))
			return strings.Join(o.Notes, " ")
		}, says: "Upstream/app: app.example.org:80: left out: app.example.org has no address: no answer within 2s", anew: true},

		{row: 11, name: "key of another certificate", naive: refusesPair(good, other, "key values mismatch"),
			bad: pairOf(n, good, other), held: "Certificate/c VirtualHost/tls", says: "not the key of the certificate"},
		{row: 11, name: "encrypted key", naive: asksForPassword(good), do: func(n *node, _ uint64) string { // apply reads it, and nothing is sent
			_, err := fleet.PrivateKeyOf(encryptedKey)
			return fmt.Sprint(err)
		}, says: "holds an encrypted key, for which nginx would need a password"},
		{row: 11, name: "certificate that has expired", naive: servesPair(old, func(leaf *x509.Certificate) bool { return time.Now().After(leaf.NotAfter) }),
			do: func(n *node, _ uint64) string { // apply judges by the stations' time, and nothing is sent
				c := certificate("c", old)
				return c.Spec.(*fleet.Certificate).TimeProblem(time.Now())
			}, says: "expired on "},
		{row: 11, name: "certificate of another name", naive: servesPair(other, func(leaf *x509.Certificate) bool { return leaf.VerifyHostname("tls.example.org") != nil }),
			bad: pairOf(n, other, other), held: "VirtualHost/tls", says: "tls.example.org is not covered by Certificate/c, which is for other.example.org"},

		{row: 12, name: "another key for a live zone", lives: zone("$binary_remote_addr"), naive: func(b *bare) {
			b.put(zone("$uri"))
			b.wantLost(`limit_req "z" uses the "$uri" key while previously it used the "$binary_remote_addr" key`)
		}, live: []fleet.Resource{raw("zone", zone("$binary_remote_addr"))}, bad: []fleet.Resource{raw("zone", zone("$uri"))},
			held: "ConfigFile/zone", says: `gives the zone "z" another key, $uri instead of $binary_remote_addr`},
		{row: 12, name: "another path for a live cache", lives: cache("one"), naive: func(b *bare) {
			b.put(cache("two"))
			b.wantLost(`cache "c" uses the "DIR/two" cache path while previously it used the "DIR/one" cache path`)
		}, live: []fleet.Resource{declared, cached("one")}, bad: []fleet.Resource{declared, cached("two")}, held: "ConfigFile/zone", says: `gives the zone "c" another path`},

		{row: 13, name: "port of another process", naive: func(b *bare) {
			other := listenAt(b.t, b.address)
			b.put(fmt.Sprintf("server { listen %s; }", other.Addr()))
			b.wantLost("still could not bind()")
		}, bad: []fleet.Resource{named("other", "other.example.org", "", held)}, held: "VirtualHost/other", says: "which process " + strconv.Itoa(os.Getpid())},
		{row: 13, name: "address of another node", naive: refused("server { listen 192.0.2.9:80; }", "bind() to 192.0.2.9:80 failed (99: Cannot assign requested address)"),
			bad: []fleet.Resource{named("far", "far.example.org", "192.0.2.9", 80)}, held: "VirtualHost/far", says: "this node has no such address"},

		{row: 14, name: "working directory that workers cannot enter", naive: func(b *bare) {
			b.main("events", "working_directory DIR/nowhere;\nevents")
			b.wantSilent()
			b.hup()
			b.wantLog(`nowhere") failed`)
			eventually(b.t, "no worker lives", func() bool { return len(b.workers()) == 0 })
		}, do: func(n *node, revision uint64) string { // no resource can say it: a bundle that does
			closed := filepath.Join(n.cfg.State, "versions") // 0700
			_, err := n.Apply(n.t.Context(), revision, n.with("nginx.conf", func(text string) string {
				return strings.Replace(text, "worker_processes", "working_directory "+closed+";\nworker_processes", 1)
			}, site("web", port, "unseen")))
			wantFailure(n.t, err, "[alert]", "serves again")
			n.wantEvent(nginx.EventRolledBack, fmt.Sprintf("revision %d", revision), "chdir(")
			return err.Error()
		}, says: "chdir(", anew: true},

		{row: 15, name: "ten thousand servers", naive: func(b *bare) {
			before := b.peak()
			b.put("server_names_hash_max_size 65536;" + many.String())
			b.wantTaken()
			if used := b.peak() - before; used < 100<<20 {
				b.t.Errorf("nginx took %d KB for them", used>>10)
			}
		}, do: func(n *node, revision uint64) string {
			n.SetMemory(300 << 20)
			defer n.SetMemory(1 << 40)
			_, err := n.converge(revision, raw("many", strings.NewReplacer("ADDRESS", n.address, "PORT", strconv.Itoa(port)).Replace(many.String())), site("web", port, "unseen"))
			wantFailure(n.t, err, "and this node has 300 MB left", "select fewer resources")
			return err.Error()
		}, says: "10002 servers"},

		{row: 16, name: "name that is syntax", naive: func(b *bare) {
			const name = "a.com; return 204; } server { listen ADDRESS:PORT; server_name app.example.org; return 200 stolen; } server { server_name b.com"
			b.put("server { listen ADDRESS:PORT; server_name " + name + "; return 200 mine; }") // as a template does
			b.wantTaken()
			b.hands("stolen")
		}, bad: []fleet.Resource{named("evil", "a.com; } server {", "", port)}, held: "VirtualHost/evil", says: "spec.serverNames[0]"},

		{row: 17, name: "expression that explodes", naive: taken("server { listen ADDRESS:PORT; server_name app.example.org; location ~ ^/(a+)+$ { return 204; } }", func(b *bare) {
			if got := b.get(b.port, "app.example.org", "/"+strings.Repeat("a", 60)+"!"); !strings.HasPrefix(got, "500 ") {
				b.t.Errorf("the request is answered %q", got)
			}
			b.wantLog("() failed: -")
		}), bad: []fleet.Resource{server("location ~ ^(a+)+$ { return 204; }")}, held: "ConfigFile/bad", says: "exponentially long"},
		// A hundred thousand are not started here, where others work too; that
		// nginx starts as many as it is told shows with fewer.
		{row: 17, name: "a hundred thousand workers", naive: func(b *bare) {
			b.main("worker_processes 2", "worker_processes 100000")
			b.wantSilent()
			b.main("worker_processes 100000", "worker_processes 64")
			b.wantTaken()
			eventually(b.t, "there are 64 workers", func() bool { return len(b.workers()) == 64 })
		}, bad: bad("worker_processes 100000;"), held: "ConfigFile/bad", says: "a setting of the whole nginx"},

		{row: 18, name: "socket of a container runtime", naive: func(b *bare) {
			b.runtime()
			b.put("server { listen ADDRESS:PORT; server_name app.example.org; location / { proxy_pass http://unix:DIR/docker.sock:/; } }")
			b.wantTaken()
			b.hands("all containers")
		}, bad: []fleet.Resource{server("location / { proxy_pass http://unix:/run/docker.sock:/; }")}, held: "ConfigFile/bad", says: "can do anything on the node"},
		// nginx says nothing of it; whoever has a metadata service would be asked.
		{row: 18, name: "metadata address", naive: func(b *bare) {
			b.put("server { listen ADDRESS:PORT; server_name app.example.org; location / { proxy_pass http://169.254.169.254/; } }")
			b.wantTaken()
			b.answers("200 new")
		}, bad: []fleet.Resource{server("location / { proxy_pass http://169.254.169.254/; }")}, held: "ConfigFile/bad", says: "link-local"},

		{row: 19, name: "socket of a killed nginx", lives: "server { listen unix:DIR/own.sock; return 200 own; }", naive: func(b *bare) {
			b.kill()
			b.wantSilent()
			if up, said := b.restarts(); up || !strings.Contains(said, b.filled("bind() to unix:DIR/own.sock failed (98: Address already in use)")) {
				b.t.Errorf("nginx starts over the old socket: %s", said)
			}
		}, live: []fleet.Resource{declared, raw("own", "server { listen unix:"+dir+"/own.sock; return 200 own; }")}, do: comesBack(dir + "/own.sock"),
			says: "was killed by SIGKILL", anew: true},

		{row: 20, name: "half-written file and a foreign reload", naive: func(b *bare) {
			b.write("conf.d/web.conf", "server { listen ADDRESS:PORT; server_name app.example.org; return 200 app; }\n") // the second half is to come
			b.wantSilent()
			b.reload()
			b.answers("200 app")
		}, do: halfWritten, says: "told nginx to reload", anew: true},
	}
}
