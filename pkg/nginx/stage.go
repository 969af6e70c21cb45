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
	values, err := e.values(b)
	if err != nil {
		return version{}, err
	}
	m := manifest{Revision: revision, Digest: b.Digest, Local: hashOf(values), Workers: e.cfg.Workers, At: time.Now().UTC()}
	return e.store.stage(m, func(dir string) []File { return fill(b, dir, values) })
}

// values is what the placeholders stand for on this node, in pairs; all but
// the version's directory, which is known when its name is.
func (e *Engine) values(b Bundle) ([]string, error) {
	modules, err := e.can.modules(b)
	if err != nil {
		return nil, err
	}
	user := ""
	if e.workers.name != "" {
		user = fmt.Sprintf("user %s %s;\n", e.workers.name, e.workers.group)
	}
	return []string{
		phModules, modules, phUser, user, phTemp, e.can.tempPaths(e.cfg.tempDir()),
		phPid, e.cfg.PidFile, phRun, e.cfg.Run, phLogs, e.cfg.Logs,
		phWorkers, strconv.Itoa(e.cfg.Workers), phDigest, b.Digest, phProbe, e.probeAgent(),
	}, nil
}

// local is the hash of the values: a bundle that was staged with others is to
// be staged again although its digest is the same.
func (e *Engine) local(b Bundle) string {
	values, err := e.values(b)
	if err != nil {
		return ""
	}
	return hashOf(values)
}

func hashOf(values []string) string {
	text := fmt.Sprintf("%q %v", values, host.HasIPv6())
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// fill is the bundle's files as they lie on this node's disk. Raw
// configuration stays as it was written.
func fill(b Bundle, dir string, values []string) []File {
	replace := strings.NewReplacer(append([]string{phVersion, dir}, values...)...)
	ipv6 := host.HasIPv6()
	files := make([]File, len(b.Files))
	for i, f := range b.Files {
		f.source = hashOfBytes(f.Content)
		if rendered(f) {
			text := string(f.Content)
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
	return f.Path == "nginx.conf" || strings.HasPrefix(f.Path, "http.d/") || strings.HasPrefix(f.Path, "stream.d/")
}

func hashOfBytes(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
