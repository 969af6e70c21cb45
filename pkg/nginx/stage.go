package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/host"
)

// stage fills in what differs per node, secrets among it, and writes the
// bundle as a version.
func (e *Engine) stage(revision uint64, b Bundle) (version, error) {
	b, err := e.unseal(b)
	if err != nil {
		return version{}, err
	}
	l, err := e.localsOf(b)
	if err != nil {
		return version{}, err
	}
	return e.stageWith(revision, b, l)
}

func (e *Engine) stageWith(revision uint64, b Bundle, l locals) (version, error) {
	workers := e.cfg.Workers
	if e.cfg.including() {
		b, workers = withInclude(b), 0 // how many there should be is the host's to say
	}
	m := manifest{Revision: revision, Digest: b.Digest, Local: l.hash, Host: l.host, Tells: true, Workers: workers, At: time.Now().UTC()}
	return e.store.stage(m, func(dir string) []File { return fill(b, dir, l) })
}

// locals is what makes a bundle this node's own.
type locals struct {
	values []string          // what the placeholders stand for, in pairs
	texts  map[string]string // of the upstreams that the node knows more of, by path
	notes  []string          // servers that are left out, and why
	hash   string            // of all that is filled in
	host   string            // of the part that does not change by itself: without texts
}

func (e *Engine) localsOf(b Bundle) (locals, error) {
	values, err := e.values(b)
	if err != nil {
		return locals{}, err
	}
	if err := e.cfg.streamless(b); err != nil {
		return locals{}, err
	}
	s := e.sightOf(b.locals(), b.Policy())
	l := locals{texts: s.texts(), notes: s.notes()}
	l.hash, l.host = hashOf(values, l.texts), hashOf(values, nil)
	l.values = append(values, phLocal, l.hash)
	return l, nil
}

// values is what the placeholders stand for on this node, in pairs; all but
// the version's directory, which is known when its name is.
func (e *Engine) values(b Bundle) ([]string, error) {
	can := e.can()
	modules, err := can.modules(b)
	if err != nil {
		return nil, err
	}
	user := ""
	if e.workers.name != "" {
		user = fmt.Sprintf("user %s %s;\n", e.workers.name, e.workers.group)
	}
	if err := can.needs(b); err != nil {
		return nil, err
	}
	return append([]string{
		phModules, modules, phUser, user, phTemp, can.tempPaths(e.cfg.tempDir()),
		phPid, e.cfg.PidFile, phRun, e.cfg.Run, phLogs, e.cfg.Logs,
		phWorkers, strconv.Itoa(e.cfg.Workers), phDigest, b.Digest, phShort, Short(b.Digest), phProbe, e.probeAgent(),
		phCache, e.cfg.tempDir(), phCA, authorities(),
	}, can.spelling()...), nil
}

// local is the hash of what is filled in: a bundle that was staged with others is to
// be staged again although its digest is the same.
func (e *Engine) local(b Bundle) string {
	l, err := e.localsOf(b)
	if err != nil {
		return ""
	}
	return l.hash
}

func hashOf(values []string, texts map[string]string) string {
	text := fmt.Sprintf("%q %v %q", values, host.HasIPv6(), texts) // fmt sorts maps
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// fill is the bundle's files as they lie on this node's disk. Raw
// configuration stays as it was written.
func fill(b Bundle, dir string, l locals) []File {
	replace := strings.NewReplacer(append([]string{phVersion, dir}, l.values...)...)
	ipv6 := host.HasIPv6()
	files := make([]File, len(b.Files))
	for i, f := range b.Files {
		f.source = hashOfBytes(f.Content)
		if rendered(f) {
			if f.bundled == nil {
				f.bundled = f.Content
			}
			text := string(f.Content)
			if own, ok := l.texts[f.Path]; ok {
				text = own
			}
			if !ipv6 {
				text = withoutIPv6(text)
			}
			f.Content = []byte(replace.Replace(text))
		}
		files[i] = f
	}
	return files
}

// rendered says whether Fairlead wrote every directive of a file itself.
func rendered(f File) bool {
	if strings.HasPrefix(f.Owner, "ConfigFile/") {
		return false
	}
	return f.Path == "nginx.conf" || f.Path == includeFile || strings.HasPrefix(f.Path, "http.d/") || strings.HasPrefix(f.Path, "stream.d/")
}

func hashOfBytes(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
