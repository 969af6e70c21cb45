package nginx_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fairlead/pkg/fleet"
)

// hostileInput is an input that hurts an nginx that is given it as it is.
type hostileInput struct {
	row   int // of the table in docs/nginx.md
	name  string
	naive func(b *bare) // gives it to an nginx without Fairlead, and shows what that makes of it
	lives string        // a file that the naive nginx has before

	// What an engine is given: resources, or something that is done to it.
	live []fleet.Resource // served before
	bad  []fleet.Resource
	held string // resources that are held back then, sorted; "" where what served before serves as a whole
	do   func(n *node, revision uint64) (said string)
	says string // the reason
	anew bool   // do has nginx start or read again what it serves
}

// Each input is given to an nginx by itself, which is hurt or says nothing of
// what is wrong; and then to an engine whose nginx serves. There a plain reason
// names the thing, the same processes go on serving what they did, and the
// next good change works.
func TestHostileInputsHurtNothing(t *testing.T) {
	n := newNode(t)
	port := n.freePort()
	web := func(text string) fleet.Resource { return site("web", port, text) }
	n.mustConverge(1, web("1"))
	dir := filepath.Dir(n.cfg.State)
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("hunter2 is the password;\n"), 0o600))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	held := listenAt(t, n.address)
	revision := uint64(1)
	for _, in := range hostileInputs(t, n, port, held.Addr().(*net.TCPAddr).Port) {
		t.Run(strconv.Itoa(in.row)+" "+in.name, func(t *testing.T) {
			in.naive(newBare(t, in.lives))
			text := func() string { return strconv.FormatUint(revision, 10) }
			if len(in.live) > 0 {
				revision++
				if o := n.mustConverge(revision, append(in.live, web(text()))...); !o.Whole() {
					t.Fatal(o.Summary())
				}
			}
			workers, pid := n.workers(), n.status().PID
			serves := n.get(port, "web.example.org", "/")
			revision++
			said, changes := "", false
			if in.do != nil {
				said = in.do(n, revision)
			} else {
				o := n.mustConverge(revision, append(in.bad, web(strings.TrimPrefix(serves, "200 ")))...)
				var held []string
				for _, r := range o.Held() {
					held = append(held, r.Resource)
				}
				if got := strings.Join(held, " "); got != in.held {
					t.Errorf("held %q, want %q", got, in.held)
				}
				said, changes = o.Summary(), len(held) < len(in.bad)
			}
			if !strings.Contains(said, in.says) || strings.Contains(said, "hunter2") {
				t.Errorf("said %q, want %q", said, in.says)
			}
			if got := n.get(port, "web.example.org", "/"); got != serves {
				t.Errorf("the site answers %q, before %q", got, serves)
			}
			if same := n.status().PID == pid && (changes || n.workers() == workers); same == in.anew {
				t.Errorf("master %d, workers %s; before %d, %s", n.status().PID, n.workers(), pid, workers)
			}
			revision++
			if o := n.mustConverge(revision, web(text())); !o.Whole() || n.get(port, "web.example.org", "/") != "200 "+text() {
				t.Errorf("the next good change: %s", o.Summary())
			}
		})
	}
}

var documented = regexp.MustCompile(`(?m)^\| (\d+) \| (.+?) \|`)

// The table above and the one that people read have the same rows.
func TestEveryHostileInputOfTheDocumentIsTried(t *testing.T) {
	text, err := os.ReadFile("../../docs/nginx.md")
	must(t, err)
	var rows []int
	for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
		row, _ := strconv.Atoi(m[1])
		rows = append(rows, row)
	}
	var tried []int
	for _, in := range hostileInputs(t, &node{t: t, address: "127.0.0.1"}, 80, 81) {
		if in.naive == nil || in.bad == nil == (in.do == nil) || in.says == "" {
			t.Errorf("%d %s shows nothing", in.row, in.name)
		}
		tried = append(tried, in.row)
	}
	slices.Sort(tried)
	if tried = slices.Compact(tried); len(rows) != 20 || !slices.Equal(rows, tried) {
		t.Errorf("documented are the rows %v, tried %v", rows, tried)
	}
}
