package nginx

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fairlead/pkg/fleet"
)

// A host may keep its own nginx.conf and include what Fairlead manages in its
// http{}. The commit point is then a link of its own, beside it. The promises
// are weaker, because the main context is not Fairlead's: there is no control
// log, so nginx's own words on a reload that fails are in its error log alone
// and the verdict waits for its time to run out; how many workers there should
// be is not known; what stands in the host's own part is not checked, not
// watched and not rolled back; there are no streams.

const (
	includeLink = "fairlead.conf" // in Config.Conf
	includeFile = "include.conf"  // in a version
)

// including says whether the host keeps its own nginx.conf.
func (c Config) including() bool { return c.HostConf != "" }

// entry is the file of a version that the commit point leads to.
func (c Config) entry() string {
	if c.including() {
		return includeFile
	}
	return "nginx.conf"
}

// withInclude adds what a host's own http{} includes. It says the same as
// http{} of the version's nginx.conf, but for what the host sets itself.
func withInclude(b Bundle) Bundle {
	w := new(writer)
	w.line("# Written by Fairlead. What is changed here by hand is lost.")
	ownLog(w)
	ownServer(w)
	for _, path := range includes(b.Files, "http.d/") {
		if path != refusalsFile { // whom the host refuses is the host's to say
			w.line(`include "%s/%s";`, phVersion, path)
		}
	}
	b.Files = append(append([]File(nil), b.Files...), File{Path: includeFile, Mode: 0o600, Content: []byte(w.String())})
	return b
}

// hostArguments make nginx read a staged version as the host would: its own
// nginx.conf, with the staged file in the place of the link. The copy lies
// beside it, from where relative includes are found, until done is called.
func (e *Engine) hostArguments(v version) (args []string, done func(), err error) {
	data, err := os.ReadFile(e.cfg.HostConf)
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.Failed, "read the host's own configuration: %w", err)
	}
	staged := filepath.Join(v.Dir, includeFile)
	text := string(data)
	for _, line := range e.includeLines() {
		text = strings.ReplaceAll(text, line, fmt.Sprintf("include %s;", staged))
	}
	if text == string(data) {
		return nil, nil, fleet.Errorf(fleet.Failed, "%s does not include %s: write this line into its http { }, and reload nginx: %s",
			e.cfg.HostConf, e.cfg.link(), e.includeLines()[0])
	}
	f, err := os.CreateTemp(filepath.Dir(e.cfg.HostConf), ".fairlead-*.test")
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.Failed, "copy the host's own configuration: %w", err)
	}
	done = func() { os.Remove(f.Name()) }
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		done()
		return nil, nil, fleet.Errorf(fleet.Failed, "copy the host's own configuration: %w", err)
	}
	return []string{"-t", "-q", "-c", f.Name(), "-e", "stderr"}, done, nil
}

// includeLines are the ways to include the link. The first does no harm while
// the link is not there yet, because a pattern may match nothing.
func (e *Engine) includeLines() []string {
	dir := e.cfg.Conf
	return []string{fmt.Sprintf("include %s/fairlead.con[f];", dir), fmt.Sprintf("include %s/fairlead.conf;", dir), fmt.Sprintf("include %s/*.conf;", dir)}
}
