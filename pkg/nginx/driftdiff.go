package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

// Bounds of a difference in words: it travels in an answer, and is for people.
const (
	diffFileMost = 64 << 10  // of one file's difference
	diffMost     = 256 << 10 // of all of it
)

// Changes is what was changed by hand on a node, in words.
type Changes struct {
	Revision uint64      `json:"revision"`        // whose files were changed
	At       time.Time   `json:"at,omitzero"`     // when they were healed, by the node's clock; zero for what differs now
	Files    []DriftFile `json:"files,omitempty"` // all that differ
	Diff     string      `json:"diff,omitempty"`  // unified, from what Fairlead put there to what was found; without secrets
	Healed   time.Time   `json:"healed,omitzero"` // when files were healed last, where nothing differs now
	Cut      bool        `json:"cut,omitempty"`   // Diff was longer than it may be
}

// Changes compares the last good version's files, and the link, with what
// Fairlead put there. With healed it is the changes that were healed last; the
// error is Unknown where there were none. It changes nothing and waits for no
// apply.
func (e *Engine) Changes(ctx context.Context, healed bool) (Changes, error) {
	if healed {
		list, text, err := e.store.lastChanges()
		if errors.Is(err, fs.ErrNotExist) {
			return Changes{}, fleet.Errorf(fleet.Unknown, "nothing that was changed by hand was healed here lately")
		}
		if err != nil {
			return Changes{}, fleet.Errorf(fleet.Failed, "read what was healed: %w", err)
		}
		return Changes{Revision: list.Revision, At: list.At, Files: list.Files, Diff: text, Cut: strings.HasSuffix(text, cutMark)}, nil
	}
	if !e.open.Load() {
		return Changes{}, fleet.Errorf(fleet.Unavailable, "the engine of nginx in %s does not run", e.cfg.State)
	}
	good, err := e.serving()
	if err != nil {
		return Changes{}, fleet.Errorf(fleet.Unavailable, "the last good version: %w", err)
	}
	image, err := e.store.image(good.Name, true)
	if err != nil {
		return Changes{}, fleet.Errorf(fleet.Unavailable, "there is nothing to compare with: %w", err)
	}
	found, err := e.store.compare(image)
	if err != nil {
		return Changes{}, fleet.Errorf(fleet.Failed, "compare: %w", err)
	}
	c := Changes{Revision: good.Manifest.Revision, Files: found, Diff: e.store.changes(image, found)}
	c.Cut = strings.HasSuffix(c.Diff, cutMark)
	if len(found) == 0 {
		if list, _, err := e.store.lastChanges(); err == nil {
			c.Healed = list.At
		}
	}
	return c, ctx.Err()
}

const cutMark = "… the rest is left out: it is too long to be shown\n"

// changes puts what differs into words: a unified difference for each file,
// with its names under fairlead/ and node/. The image has its contents.
func (s store) changes(m *image, found []DriftFile) string {
	var b strings.Builder
	for _, f := range found {
		text := s.change(m, f)
		if len(text) > diffFileMost {
			text = upToLine(text, diffFileMost) + "… the rest of this file is left out\n"
		}
		if b.Len()+len(text) > diffMost {
			b.WriteString(cutMark)
			break
		}
		b.WriteString(text)
	}
	return b.String()
}

func (s store) change(m *image, f DriftFile) string {
	head := f.String() + "\n"
	var was, is []byte
	e, _ := m.get(f.Path)
	was = e.content
	path := filepath.Join(m.version.Dir, f.Path)
	if f.Change == changeLink {
		path, was = s.link, []byte("-> "+s.target(m.version)+"\n")
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			conf, _ := m.get(s.entry) // what the file stands in place of
			was = conf.content
		}
	}
	var whole bool
	is, whole = shown(path)
	switch {
	case f.Change == changeMode || f.Change == changeOwner || e.mode.IsDir():
		return head
	case secret(f.Path, was) || secret(f.Path, is):
		return head + "its content is secret and is not shown\n"
	case !utf8.Valid(was) || !utf8.Valid(is) || bytes.ContainsRune(is, 0):
		return head + "its content is not text\n"
	}
	if !whole {
		head += "it is longer than what is compared here\n"
	}
	name := strings.TrimPrefix(f.Path, "/")
	text := string(diff.Diff("fairlead/"+name, was, "node/"+name, is))
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		text = rest // without the line that names both a second time
	}
	return head + text
}

// shown is what a path holds, for people: the text of a file, where a link
// leads, nothing for what is not there; false when there is more than that.
func shown(path string) (content []byte, whole bool) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, true
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(path)
		return []byte("-> " + target + "\n"), true
	case !info.Mode().IsRegular():
		return []byte("(" + host.KindOf(info.Mode()) + ")\n"), true
	}
	f, err := openRegular(path)
	if err != nil {
		return []byte(fmt.Sprintf("(%v)\n", err)), true
	}
	defer f.Close()
	content, _ = io.ReadAll(io.LimitReader(f, forensicFile+1))
	if len(content) > forensicFile {
		return content[:forensicFile], false
	}
	return content, true
}

// secret says whether a file may not be shown: keys, and lists of passwords,
// by name or by what they hold.
func secret(path string, content []byte) bool {
	name := strings.ToLower(filepath.Base(path))
	if strings.HasPrefix(filepath.ToSlash(path), "ssl/") && !strings.HasSuffix(name, ".crt") {
		return true
	}
	return strings.Contains(name, ".key") || strings.Contains(name, "htpasswd") || strings.HasSuffix(name, ".pem") ||
		strings.HasPrefix(filepath.ToSlash(path), usersDir) || bytes.Contains(content, []byte("PRIVATE KEY"))
}

func upToLine(text string, most int) string {
	return text[:strings.LastIndexByte(text[:most], '\n')+1]
}
