package nginx

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A file for each resource is what people want to look at, and what disks are
// slow to make: a thousand cost ext4 20 ms, and 300 ms after others were
// removed. So where there are many, they lie together in a few larger ones on
// the node's disk (docs/adr/0008-many-hosts-lie-together.md). The bundle knows
// nothing of it, nor does anybody who is told of a file: what nginx says of a
// line is said of the resource's own file.

const (
	// singly is how many rendered files of http{} lie each by itself.
	singly = 64
	// togetherMost is the size of a file that holds several: a quarter of what
	// is kept of a file that was edited by hand.
	togetherMost = forensicFile / 4
)

// togetherPrefix begins the paths of files that hold several.
const togetherPrefix = "http.d/resources-"

// together is a version's files as they are to lie in dir: those of http{} that
// Fairlead rendered put together, in the order in which nginx.conf includes
// them, and included in their place.
func together(files []File, dir string) []File {
	may := map[string]bool{}
	for _, f := range files {
		if mayLieTogether(f) {
			may[f.Path] = true
		}
	}
	if len(may) <= singly {
		return files
	}
	var all []File
	in := map[string]string{} // path of a file → of the one that holds it
	open, number := -1, 0     // which of all takes more, and how many there are
	for _, f := range files {
		if !may[f.Path] {
			if strings.HasPrefix(f.Path, "http.d/") {
				open = -1 // or it would be included before what was put in front of it
			}
			all = append(all, f)
			continue
		}
		if open < 0 || len(all[open].Content)+len(f.Content) > togetherMost {
			open, number = len(all), number+1
			all = append(all, File{Path: fmt.Sprintf("%s%d.conf", togetherPrefix, number), Mode: f.Mode})
		}
		holder := &all[open]
		holder.Content = append(holder.Content, f.Content...)
		holder.parts = append(holder.parts, f)
		in[f.Path] = holder.Path
	}
	for i, f := range all {
		if f.Path == "nginx.conf" || f.Path == includeFile {
			all[i].Content = includeTogether(f.Content, dir, in)
		}
	}
	return all
}

// mayLieTogether says whether a file may be put between others: it is a whole
// by itself, so that what nginx finds wrong in it is found in its lines.
func mayLieTogether(f File) bool {
	if !strings.HasPrefix(f.Path, "http.d/") || !rendered(f) || f.Path == refusalsFile || f.Mode.Perm() != 0o600 || !bytes.HasSuffix(f.Content, []byte("\n")) {
		return false
	}
	_, err := read(string(f.Content))
	return err == nil
}

// includeTogether names the files that hold several in the place of what they hold.
func includeTogether(text []byte, dir string, in map[string]string) []byte {
	var b bytes.Buffer
	last := ""
	for line := range bytes.Lines(text) {
		path, _ := strings.CutPrefix(strings.TrimSpace(string(line)), `include "`+dir+"/")
		path, _ = strings.CutSuffix(path, `";`)
		holder, ok := in[path]
		switch {
		case !ok:
			b.Write(line)
		case holder != last:
			last = holder
			b.Write(bytes.Replace(line, []byte(path), []byte(holder), 1))
		}
	}
	return b.Bytes()
}

// apart is the manifest's files, with those that lie together one by one.
func (m manifest) apart() []manifestFile {
	all := make([]manifestFile, 0, len(m.Files))
	for _, f := range m.Files {
		if len(f.Parts) > 0 {
			all = append(all, f.Parts...)
		} else {
			all = append(all, f)
		}
	}
	return all
}

// apart is the contents of the parts of a file, from its own; false where they
// are not what was staged.
func (f manifestFile) apart(content []byte) (all [][]byte, ok bool) {
	if hashOfBytes(content) != f.SHA256 {
		return nil, false
	}
	for _, p := range f.Parts {
		end := 0
		for range p.Lines {
			end += bytes.IndexByte(content[end:], '\n') + 1
		}
		all, content = append(all, content[:end]), content[end:]
	}
	return all, len(content) == 0
}

// content is what a file of the bundle holds as it lies on disk, by itself or
// together with others.
func (v version) content(path string) ([]byte, error) {
	for _, f := range v.Manifest.Files {
		for i, p := range f.Parts {
			if p.Path != path {
				continue
			}
			data, err := os.ReadFile(filepath.Join(v.Dir, f.Path))
			if err != nil {
				return nil, err
			}
			parts, ok := f.apart(data)
			if !ok {
				return nil, fmt.Errorf("%s is not what was staged any more", f.Path)
			}
			return parts[i], nil
		}
	}
	return os.ReadFile(filepath.Join(v.Dir, path))
}

var togetherLine = regexp.MustCompile(regexp.QuoteMeta(togetherPrefix) + `\d+\.conf:\d+`)

// ownLines turns the lines of files that hold several, in what nginx said, into
// those of the resources' own files.
func (m manifest) ownLines(said string) string {
	return togetherLine.ReplaceAllStringFunc(said, func(place string) string {
		path, number, _ := strings.Cut(place, ":")
		line, _ := strconv.Atoi(number)
		for _, f := range m.Files {
			if f.Path != path {
				continue
			}
			for _, p := range f.Parts {
				if line <= p.Lines {
					return fmt.Sprintf("%s:%d", p.Path, line)
				}
				line -= p.Lines
			}
		}
		return place
	})
}

// editedIn names the resources whose parts of a file are not there as they were
// put there, "" for a file that holds no several.
func (s store) editedIn(m *image, path string) string {
	var f manifestFile
	for _, one := range m.version.Manifest.Files {
		if one.Path == path {
			f = one
		}
	}
	if len(f.Parts) == 0 {
		return ""
	}
	full, err := s.image(m.version.Name, true)
	if err != nil {
		return ""
	}
	was, _ := full.get(path)
	parts, _ := f.apart(was.content)
	is, _ := shown(filepath.Join(m.version.Dir, path))
	var owners []string
	for i, part := range parts {
		if at := bytes.Index(is, part); at >= 0 {
			is = is[at+len(part):]
		} else {
			owners = append(owners, f.Parts[i].Owner)
		}
	}
	const few = 3
	if more := len(owners) - few; more > 0 {
		owners = append(owners[:few], fmt.Sprintf("%d more", more))
	}
	return strings.Join(owners, ", ")
}
