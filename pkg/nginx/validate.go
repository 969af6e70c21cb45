package nginx

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// testTimeout is how long nginx -t may take: measured 3.8 ms for one server,
// 70 ms for 1,000, 2 s for 10,000, on an idle machine.
func testTimeout(b Bundle) time.Duration {
	return 10*time.Second + time.Duration(len(b.Files))*5*time.Millisecond + time.Duration(rulesFiles(b))*rulesTime
}

// noListener is a line about a syslog socket: a confined test finds none in the run directory.
var noListener = regexp.MustCompile(`\[alert\] \d+#\d+: connect\(\) failed \(\d+: [^)]*\)$`)

var conflictingName = regexp.MustCompile(`\[warn\].*conflicting server name`)

// test is testAs for a version that was checked before, or that others wrote.
func (e *Engine) test(ctx context.Context, v version, b Bundle) error {
	files := v.files
	if files == nil {
		files = v.rawFiles()
	}
	s := surveyOf(files)
	hosts, _ := resolve(ctx, s.names) // nginx says so too
	return e.testAs(ctx, v, b, s, hosts)
}

// testAs lets nginx itself read the staged version. Death by a signal is a
// failure, and so is a server name that two servers have, for which nginx only
// warns and then serves whichever it read first.
func (e *Engine) testAs(ctx context.Context, v version, b Bundle, s survey, hosts map[string][]netip.Addr) error {
	limit, cancel := context.WithTimeout(ctx, testTimeout(b))
	defer cancel()
	args := []string{"-t", "-q", "-p", e.cfg.State, "-c", v.conf(), "-e", "stderr"}
	if e.cfg.including() {
		own, done, err := e.hostArguments(v)
		if err != nil {
			return &nodeFault{err}
		}
		defer done()
		args = own
	}
	r, err := e.runTest(limit, v, args, s, hosts)
	said := v.rulesFault(v.scrub(nginxLines(string(r.Stderr))))
	refuse := func(kind fleet.Kind, format string, args ...any) error {
		no := fleet.Errorf(kind, "%s: "+format, append([]any{v}, args...)...)
		return withOwners(&refusal{no, said}, v.owners(b, said))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fleet.Errorf(fleet.Cancelled, "%s: nginx -t: %w", v, err)
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(fleet.Timeout, "nginx -t did not end within %v", testTimeout(b))
	case err != nil:
		return fleet.Errorf(fleet.Failed, "%s: nginx -t: %w", v, err)
	case r.Signal != "":
		said = "nginx -t died of " + r.Signal
		return refuse(fleet.Failed, "%s", said)
	case r.ExitCode != 0 || conflictingName.MatchString(said):
		return refuse(fleet.Failed, "nginx refuses it: %s%s", named(v.owners(b, said)), said)
	}
	if said != "" {
		e.log.Warn("nginx warns", "revision", v.Manifest.Revision, "lines", said)
	}
	e.parse = r.Duration
	return nil
}

// nginxLines is what nginx said, without the lines that only say that the test
// failed, that there is a firewall, and that nobody listens to a test.
func nginxLines(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasSuffix(line, " test failed") && !strings.Contains(line, ": ModSecurity-nginx v") && !noListener.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// owners are the resources that nginx's lines point at, by a file of theirs or
// by a path that they alone name.
func (v version) owners(b Bundle, said string) (owners []string) {
	for _, f := range b.Files {
		if f.Owner == "" || slices.Contains(owners, f.Owner) {
			continue
		}
		if strings.Contains(said, f.Path+":") || strings.Contains(said, f.Path+`"`) {
			owners = append(owners, f.Owner)
			continue
		}
		for _, found := range quotedPath.FindAllStringSubmatch(said, -1) {
			if isRaw(f) && strings.Contains(string(f.Content), found[1]) {
				owners = append(owners, f.Owner)
				break
			}
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

func named(owners []string) string {
	if len(owners) == 0 {
		return ""
	}
	return strings.Join(owners, ", ") + ": "
}

var (
	quotedPath = regexp.MustCompile(`"(/[^"]+)"`)
	inFile     = regexp.MustCompile(` in (/[^ ]+):[0-9]+$`)
	quotedText = regexp.MustCompile(`"[^"]*"`)
)

// stamp is what nginx puts before a line: when, and which process.
var stamp = regexp.MustCompile(`^(?:nginx: |[0-9/]+ [0-9:]+ )?(\[[a-z]+\]) (?:[0-9]+#[0-9]+: )?`)

// scrub takes away the time and makes the version's own paths relative, and takes out what nginx
// quotes of other files: it reads them as root, and its error would show the
// first word of any file to whoever reads the answer.
func (v version) scrub(said string) string {
	lines := strings.Split(v.Manifest.ownLines(said), "\n")
	for i, line := range lines {
		line = stamp.ReplaceAllString(line, "$1 ")
		if m := inFile.FindStringSubmatch(line); m != nil && !strings.HasPrefix(m[1], v.Dir+"/") {
			line = quotedText.ReplaceAllString(line, `"…"`)
		}
		lines[i] = strings.ReplaceAll(line, v.Dir+"/", "")
	}
	return strings.Join(lines, "\n")
}
