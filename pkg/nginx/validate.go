package nginx

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// testTimeout is how long nginx -t may take: measured 3.8 ms for one server,
// 70 ms for 1,000, 2 s for 10,000, on an idle machine.
func testTimeout(b Bundle) time.Duration {
	return 10*time.Second + time.Duration(len(b.Files))*5*time.Millisecond
}

var conflictingName = regexp.MustCompile(`\[warn\].*conflicting server name`)

// test lets nginx itself read the staged version. Death by a signal is a
// failure, and so is a server name that two servers have, for which nginx only
// warns and then serves whichever it read first.
func (e *Engine) test(ctx context.Context, v version, b Bundle) error {
	limit, cancel := context.WithTimeout(ctx, testTimeout(b))
	defer cancel()
	args := []string{"-t", "-q", "-p", e.cfg.State, "-c", v.conf(), "-e", "stderr"}
	if e.cfg.including() {
		own, done, err := e.hostArguments(v)
		if err != nil {
			return err
		}
		defer done()
		args = own
	}
	r, err := host.Run(limit, host.Command{
		Path: e.binary,
		Args: args,
		Dir:  "/",
	})
	said := nginxLines(string(r.Stderr))
	switch {
	case err != nil && ctx.Err() != nil:
		return fleet.Errorf(fleet.Cancelled, "%s: nginx -t: %w", v, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fleet.Errorf(fleet.Timeout, "%s: nginx -t did not end within %v", v, testTimeout(b))
	case err != nil:
		return fleet.Errorf(fleet.Failed, "%s: nginx -t: %w", v, err)
	case r.Signal != "":
		return fleet.Errorf(fleet.Failed, "%s: nginx -t died of %s", v, r.Signal)
	case r.ExitCode != 0 || conflictingName.MatchString(said):
		return fleet.Errorf(fleet.Failed, "%s: nginx refuses it: %s%s", v, blame(v, b, said), said)
	}
	if said != "" {
		e.log.Warn("nginx warns", "revision", v.Manifest.Revision, "lines", said)
	}
	e.parse = r.Duration
	return nil
}

// nginxLines is what nginx said, without the line that only says that the test
// failed.
func nginxLines(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasSuffix(line, " test failed") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// blame names the resource whose file nginx's lines point at.
func blame(v version, b Bundle, said string) string {
	for _, f := range b.Files {
		if f.Owner != "" && strings.Contains(said, filepath.Join(v.Dir, f.Path)+":") {
			return f.Owner + ": "
		}
	}
	return ""
}
