package nginx

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Capabilities is what an nginx binary can do, as it says itself.
type Capabilities struct {
	Version   string   // "1.22.1"
	Arguments []string // of configure, in order
	ModuleDir string   // where dynamic modules of packages lie
}

var (
	versionLine  = regexp.MustCompile(`(?m)^nginx version: \S+?/(\S+)`)
	configureArg = regexp.MustCompile(`--[^ ='"]+(=('[^']*'|"[^"]*"|[^ ]*))?`)
)

// ask runs nginx -V.
func ask(ctx context.Context, binary string) (Capabilities, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := host.Run(ctx, host.Command{Path: binary, Args: []string{"-V"}})
	if err != nil {
		return Capabilities{}, fleet.Errorf(fleet.Unavailable, "ask nginx what it can do: %w", err)
	}
	c := parseCapabilities(string(r.Stderr))
	if c.Version == "" {
		return c, fleet.Errorf(fleet.Unavailable, "%s -V exited with %d and said no version: is it nginx?", binary, r.ExitCode)
	}
	if !c.has("--with-http_stub_status_module") {
		return c, fleet.Errorf(fleet.Unavailable, "nginx %s was built without the stub_status module, which Fairlead needs", c.Version)
	}
	return c, nil
}

func parseCapabilities(text string) Capabilities {
	var c Capabilities
	if m := versionLine.FindStringSubmatch(text); m != nil {
		c.Version = m[1]
	}
	if _, rest, ok := strings.Cut(text, "configure arguments:"); ok {
		c.Arguments = configureArg.FindAllString(rest, -1)
	}
	c.ModuleDir = c.value("--modules-path")
	if c.ModuleDir == "" {
		c.ModuleDir = filepath.Join(c.value("--prefix"), "modules")
	}
	return c
}

// features are what nginx was built with, in the words that fleet.Facts has
// for it, and the rule set of its firewall where that is there.
func (c Capabilities) features() []string {
	var all []string
	for _, a := range c.Arguments {
		if name, ok := strings.CutPrefix(a, "--with-"); ok && !strings.ContainsAny(name, "=") {
			all = append(all, strings.TrimSuffix(name, "_module"))
		}
	}
	if _, err := os.Stat(coreRuleDir); err == nil {
		all = append(all, "modsecurity-crs")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// found are the dynamic modules in the module directory, by name.
func (c Capabilities) found() []string {
	paths, _ := filepath.Glob(filepath.Join(c.ModuleDir, "*_module.so")) // a directory that cannot be read has none
	var all []string
	for _, path := range paths {
		all = append(all, strings.TrimSuffix(filepath.Base(path), ".so"))
	}
	slices.Sort(all)
	return all
}

// Facts are what a station has to know of this node's nginx. The binary is
// asked each time, as it may be another one since. Call it once the engine is
// ready.
func (e *Engine) Facts(ctx context.Context) (fleet.Facts, error) {
	c, err := ask(ctx, e.binary)
	return fleet.Facts{Nginx: c.Version, Features: c.features(), Modules: c.found()}, err
}

func (c Capabilities) has(argument string) bool {
	for _, a := range c.Arguments {
		if a == argument {
			return true
		}
	}
	return false
}

func (c Capabilities) value(name string) string {
	for _, a := range c.Arguments {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	return ""
}

// dynamic are the modules that parts of a bundle need, and where to get them.
var dynamic = []struct{ dir, argument, module, what, from string }{
	{"stream.d", "--with-stream", "ngx_stream_module", "stream module", "Debian's package is libnginx-mod-stream"},
	{"waf.d", "", "ngx_http_modsecurity_module", "ModSecurity", "Debian's package is libnginx-mod-http-modsecurity"},
}

// modules is the load_module lines that a bundle needs on this node. The
// faults name the resources that this node cannot take.
func (c Capabilities) modules(b Bundle) (string, error) {
	var lines strings.Builder
	var faults fleet.Faults
	for _, d := range dynamic {
		if !b.uses(d.dir) || d.argument != "" && c.has(d.argument) {
			continue
		}
		path := filepath.Join(c.ModuleDir, d.module+".so")
		if c.load(d.module, &lines) {
			continue
		}
		for _, f := range b.Files {
			if strings.HasPrefix(f.Path, d.dir+"/") && f.Owner != "" && !strings.HasPrefix(f.Owner, "Upstream/") {
				faults = append(faults, fleet.Fault{Subject: f.Owner,
					Message: fmt.Sprintf("this node's nginx %s has no %s: there is no %s (%s)", c.Version, d.what, path, d.from)})
			}
		}
	}
	c.allowedModules(b.Policy(), &lines)
	return lines.String(), faults.Err()
}

// allowedModules loads those that the node's policy names, as far as they are
// there. Lua needs another one before it.
func (c Capabilities) allowedModules(p fleet.NodePolicy, lines *strings.Builder) {
	for _, name := range p.Modules {
		if name == "ngx_http_lua_module" {
			c.load("ndk_http_module", lines)
		}
		c.load(name, lines)
	}
}

// load writes the line for one module, once, and reports whether it is there.
func (c Capabilities) load(name string, lines *strings.Builder) bool {
	path := filepath.Join(c.ModuleDir, name+".so")
	if _, err := os.Stat(path); err != nil || !safePath.MatchString(path) {
		return false
	}
	if line := fmt.Sprintf("load_module \"%s\";\n", path); !strings.Contains(lines.String(), line) {
		lines.WriteString(line)
	}
	return true
}

// tempPaths keeps each module's temporary files out of system directories. A
// module that is not built in knows no such directive.
func (c Capabilities) tempPaths(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    client_body_temp_path \"%s/body\";\n", dir)
	for _, module := range []string{"proxy", "fastcgi", "uwsgi", "scgi"} {
		if !c.has("--without-http_" + module + "_module") {
			fmt.Fprintf(&b, "    %s_temp_path \"%s/%s\";\n", module, dir, module)
		}
	}
	return b.String()
}
