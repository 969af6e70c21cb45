package nginx

import (
	"context"
	"log/slog"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/fleet"
	"fairlead/pkg/syslog"
)

// RenderUnvalidated is Render without the resources' own validation, which is
// stricter than quoting needs to be: what it lets through today or tomorrow
// must be served as it is, or be refused here.
func RenderUnvalidated(address string, resources []fleet.Resource) (Bundle, error) {
	return render(address, resources, func(fleet.Spec) fleet.Faults { return nil })
}

// Placeholders is all that staging fills in, which may be a text like any other.
const Placeholders = phModules + phUser + phTemp + phVersion + phPid + phRun + phLogs + phWorkers + phDigest +
	phProbe + phHTTP2 + phHTTP2D + phRealIP + phReject + phCache + phCA + phLocal

// PolicyLines are the directives that a place gets which names policies.
func PolicyLines(address string, resources []fleet.Resource, where string, names []string) ([]string, error) {
	m, faults := newModel(address, resources, fleet.Spec.Validate)
	return m.policyLines(where, names), faults.Err()
}

// SplitLines are those of a location that passes to a split.
func SplitLines(address string, resources []fleet.Resource, name string) ([]string, error) {
	m, faults := newModel(address, resources, fleet.Spec.Validate)
	return append(m.splitHeaders(name), "proxy_pass http://"+splitVariable(name)+";"), faults.Err()
}

// AllowedDirectives are the names in allowed.txt, as they stand there.
func AllowedDirectives() []string { return strings.Fields(allowedText) }

// IsRefused says whether a directive is in the table of those that a ConfigFile may not use.
func IsRefused(name string) bool { return refused[name] != "" }

// IsKnown says whether nginx has such a directive.
func IsKnown(name string) bool {
	_, latest := crossplane.MatchOssLatest(name)
	_, older := crossplane.MatchOss124(name)
	return latest || older
}

// FilledText is a rendered file as nginx 1.22 gets it.
func FilledText(text string) string {
	can := Capabilities{Version: "1.22.1", Arguments: []string{"--with-http_realip_module"}}
	pairs := append(can.spelling(), phVersion, "/v", phRun, "/run", phLogs, "/logs", phCache, "/cache", phCA, "/ca")
	return strings.NewReplacer(pairs...).Replace(text)
}

// FilesRight says whether all files were found right since nginx last read them.
func (e *Engine) FilesRight() bool { return e.drift.right() }

// TooMany says whether so many errors of so many answers end a bake.
func TooMany(now, before Answered, percent, least int) bool {
	t := &trial{Before: before, Percent: percent, Least: least}
	return t.fault(now, "", 0, 0) != ""
}

// SetMemory makes an engine believe that so many bytes are free.
func (e *Engine) SetMemory(free uint64) {
	e.memory = func() (uint64, error) { return free, nil }
}

// WithoutModules makes nginx look like one whose packages brought no modules,
// until the engine asks it again.
func (e *Engine) WithoutModules(ctx context.Context, none string) error {
	unlock, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	can := e.can()
	can.ModuleDir = none
	e.asked.Store(&can)
	return nil
}

// ModuleDir is where this host's packages put modules of nginx.
func ModuleDir(ctx context.Context) (string, error) {
	can, err := ask(ctx, "nginx")
	return can.ModuleDir, err
}

// JudgedReload is what would end a reload of master 1, of what it says before
// it has the signal and after.
func JudgedReload(before, after []string) error {
	c := control{complaints: make(chan complaint, 64), heard: func(string) {}, crashed: func(string) {}, log: slog.New(slog.DiscardHandler)}
	c.master.Store(1)
	for _, line := range before {
		c.handle(syslog.Record{Message: line})
	}
	c.drain()
	past := past{reads: c.reads.Load() + 1}
	for _, line := range after {
		c.handle(syslog.Record{Message: line})
	}
	var said []string
	for len(c.complaints) > 0 {
		if f := judge(<-c.complaints, past, &said); f != nil {
			return f
		}
	}
	return nil
}
