package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Two tenants on one broker, each with its own station: nothing of one is seen
// by the other, but what is exported and imported by command, and each has its
// quota.
func TestTenantsShareABrokerAndNothingElse(t *testing.T) {
	f := fleetOfTwo(t)
	dir := ownDir(t)
	env := home(dir) // of whoever holds the identity directory of the shared fleet
	holder := filepath.Join(f.data, "identity")
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		return fairlead(t, env, code, args...)
	}
	matches := func(text, pattern string) {
		t.Helper()
		if !regexp.MustCompile("(?m)" + pattern).MatchString(text) {
			t.Errorf("no %q in\n%s", pattern, text)
		}
	}
	eventually := func(code int, pattern string, args ...string) {
		t.Helper()
		eventually(t, func() error {
			p := start(t, env, args...)
			got, err := p.wait()
			if text := p.out.text() + p.err.text(); err == nil && (got != code || !regexp.MustCompile("(?m)"+pattern).MatchString(text)) {
				err = fmt.Errorf("exit code %d:\n%s", got, text)
			}
			return err
		})
	}

	out, errs := run(0, "tenant", "create", "shop", "--dir", holder, "--max-nodes", "1", "--max-storage", "1G", "--max-streams", "24")
	matches(out, `^shop +2 +≤ 1 +- +≤ 1G +≤ 24 +-`)
	matches(errs, `told fairlead-dev`)
	t.Cleanup(func() { run(0, "tenant", "rm", "shop", "--yes", "--dir", holder) })
	_, errs = run(2, "tenant", "create", "shop", "--dir", holder)
	matches(errs, `there is a tenant "shop"`)
	_, errs = run(2, "tenant", "create", "tiny", "--dir", holder, "--max-streams", "2")
	matches(errs, `max-streams: 2: a tenant needs at least`)
	out, _ = run(0, "tenant", "ls", "--dir", holder, "-o", "name")
	matches(out, `^main\nshop$`)

	// Its own station; the other tenant's nodes are not there.
	users := filepath.Join(holder, "tenants/shop/users")
	url := f.process.out.await(t, `broker +(tls://\S+)`)[1]
	start(t, env, "station", "--url", url, "--creds", filepath.Join(users, "station.creds"), "--trust", filepath.Join(holder, "tenants/shop/trust.json"))
	eventually(4, `no node is registered`, "nodes", "--context", "shop")
	_, errs = run(4, "get", "VirtualHost", "hello", "--context", "shop")
	matches(errs, `hello`)

	// Its nodes, as many as it may have.
	key := func(name string) string {
		t.Helper()
		run(0, "user", "create", name, "--role", "node", "--tenant", "shop", "--dir", holder)
		out, _ := run(0, "user", "show", name, "--tenant", "shop", "--dir", holder)
		return regexp.MustCompile(`(?m)^key +(\S+)$`).FindStringSubmatch(out)[1]
	}
	run(0, "nodes", "add", "node1", "--key", key("node1"), "--context", "shop")
	_, errs = run(2, "nodes", "add", "node2", "--key", key("node2"), "--context", "shop")
	matches(errs, `the tenant may have 1 nodes and has 1: .*fairlead tenant set`)
	eventually(0, `^quota: nodes 1 of 1, storage \S+ of 1G, streams \d+ of 24$`, "status", "--context", "shop")
	out, errs = run(0, "tenant", "set", "shop", "--max-nodes", "2", "--dir", holder)
	matches(out, `≤ 2`)
	matches(errs, `told fairlead-dev`)
	eventually(0, `registered node2`, "nodes", "add", "node2", "--key", key2(t, run, holder), "--context", "shop")
	_, errs = run(2, "tenant", "set", "shop", "--dir", holder)
	matches(errs, `give a bound that is another`)

	// What is stored beyond the quota is refused, and says which quota it is.
	run(0, "tenant", "set", "shop", "--max-storage", "64M", "--dir", holder)
	eventually(0, `64M`, "tenant", "ls", "--dir", holder)

	// Shared by two commands, and by nothing less.
	_, errs = run(4, "tenant", "import", "shop", "*.event.healthreport.*", "--from", "main", "--dir", holder)
	matches(errs, `tenant "main" exports no stream`)
	run(0, "tenant", "export", "main", "*.event.healthreport.*", "--dir", holder)
	out, _ = run(0, "tenant", "import", "shop", "*.event.healthreport.*", "--from", "main", "--dir", holder)
	matches(out, `^shop +has messages +\*\.event\.healthreport\.\* +main +live\.import\.main\.\$1\.event\.healthreport\.\$2$`)
	_, errs = run(2, "tenant", "rm", "main", "--yes", "--dir", holder)
	matches(errs, `\[shop\] import from "main"`)
	run(0, "tenant", "import", "shop", "*.event.healthreport.*", "--from", "main", "--remove", "--dir", holder)
	run(0, "tenant", "export", "main", "*.event.healthreport.*", "--remove", "--dir", holder)
	out, _ = run(0, "tenant", "push", "shop", "--dir", holder)
	matches(out, `told what the directory says of tenant shop`)
	if strings.Contains(out, "main") {
		t.Errorf("pushed more than was meant:\n%s", out)
	}
}

func key2(t *testing.T, run func(int, ...string) (string, string), holder string) string {
	t.Helper()
	out, _ := run(0, "user", "show", "node2", "--tenant", "shop", "--dir", holder)
	return regexp.MustCompile(`(?m)^key +(\S+)$`).FindStringSubmatch(out)[1]
}
