package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// MethodFilePush is the method by which a node takes a file.
const MethodFilePush = subjects.MethodPush

// FilePushBody says which file to fetch, and where it goes.
type FilePushBody struct {
	// List is the digest of the list of the file's parts, which the broker keeps (message.BlobList).
	List string `json:"list"`
	// Digest is the SHA-256 of the whole file.
	Digest string `json:"digest"`
	// Size of the whole file in bytes.
	Size int64 `json:"size"`
	// Path where it goes: below a directory that the agent's --push-dir names. A relative one is below the first of those.
	Path string `json:"path"`
	// Mode is its permissions, 0644 when empty.
	Mode string `json:"mode,omitempty"`
	// Owner is USER or USER:GROUP; the agent's own when empty.
	Owner string `json:"owner,omitempty"`
}

// FilePushed is a file that is in its place.
type FilePushed struct {
	Path   string `json:"path"`   // absolute
	Bytes  int64  `json:"bytes"`  // its size
	Digest string `json:"digest"` // its SHA-256
}

// Blobs are files that the broker keeps in parts.
type Blobs interface {
	// Begun is the directory that parts of a file are kept in until it is whole,
	// and how many bytes of it are there.
	Begun(list string) (dir string, bytes int64)
	// Fetch brings what lacks of a file, for as long as it takes but not past a
	// moment of the broker's clock, and opens it. Each part was compared with its
	// digest. What was fetched stays when it fails. The error is Failed where the
	// broker has not all of it or something else, Expired when the time is over.
	Fetch(ctx context.Context, list string, until time.Time) (io.ReadCloser, error)
	// Placing keeps in mind, before it is made, a file below a directory that is to be gone or to
	// have another name when done is called; where the agent is killed before, it removes the file
	// when it starts again.
	Placing(dir, name string) (done func(), err error)
	// Forget removes what was fetched.
	Forget(list string)
}

var _ = define(Definition[FilePushBody]{
	Method:  MethodFilePush,
	Summary: "fetch a file that somebody stored, and put it in its place",
	Details: "`fairlead push` stores a file in parts, each under its SHA-256, and sends this command. The node fetches the parts that it lacks, " +
		"compares each with its digest and goes on where it was when the link broke or the agent was killed; then it compares the whole and puts it in its place in one step. " +
		"A file that is there already with the same content is left as it is, and nothing is fetched. " +
		"It goes only into directories that the agent's --push-dir names: no link leads out of them, and nothing but a file is ever replaced. " +
		"It may take as long as the command is good for; when that ends, what was fetched stays for the next push of the same file.",
	Lane:      "files",
	Stoppable: true,
	Timeout:   subjects.MaxCommandAge,
	Role:      subjects.Admin,
	Domain:    "files",
	Returns:   FilePushed{},
	Example:   FilePushBody{List: strings.Repeat("3f", sha256.Size), Digest: strings.Repeat("9c", sha256.Size), Size: 5242880, Path: "www/index.html", Mode: "0644"},
	Handle: func(ctx context.Context, n *Node, c Command[FilePushBody]) (Result, error) {
		dir, p, err := c.Body.placing(n.PushDirs)
		if err != nil {
			return Result{}, err
		}
		if p.Root, err = os.OpenRoot(dir); err != nil {
			return Result{}, fleet.Errorf(fleet.Failed, "the directory that this node takes files into: %w", err)
		}
		defer p.Root.Close()
		done := FilePushed{Path: filepath.Join(dir, p.Name), Bytes: c.Body.Size, Digest: c.Body.Digest}
		same, changed, err := c.Body.there(ctx, p)
		if err != nil {
			return Result{}, placed(done.Path, err)
		}
		if same {
			n.Blobs.Forget(c.Body.List) // of a run that was cut off behind its effect
			if changed {
				return Result{Changed: true, Message: done.Path + ": the content is the same; mode or owner are others now", Data: done}, nil
			}
			return Result{Message: done.Path + ": unchanged", Data: done}, nil
		}
		if err := c.Body.room(dir, n.Blobs); err != nil {
			return Result{}, err
		}
		file, err := n.Blobs.Fetch(ctx, c.Body.List, c.Expires)
		if err != nil {
			return Result{}, err
		}
		defer file.Close()
		temporary := p.Beside(".fairlead-" + c.Body.List[:16] + ".part")
		over, err := n.Blobs.Placing(dir, temporary)
		if err != nil {
			return Result{}, err
		}
		defer over()
		if err := c.Body.put(ctx, p, file, temporary); err != nil {
			return Result{}, placed(done.Path, err)
		}
		n.Blobs.Forget(c.Body.List)
		return Result{Changed: true, Message: fmt.Sprintf("%s: %d bytes in place", done.Path, done.Bytes), Data: done}, nil
	},
})

// placing checks what can be checked without the disk; the directory is one of
// those that the node allows.
func (b FilePushBody) placing(dirs []string) (dir string, p host.Placing, err error) {
	invalid := func(format string, args ...any) (string, host.Placing, error) {
		return "", p, fleet.Errorf(fleet.Invalid, "body of filepush: "+format, args...)
	}
	mode := uint64(0o644)
	if b.Mode != "" {
		mode, err = strconv.ParseUint(b.Mode, 8, 32)
	}
	elements := strings.Split(b.Path, "/")
	switch {
	case !message.ValidDigest(b.List):
		return invalid("list %.80q is not a SHA-256 in hexadecimal", b.List)
	case !message.ValidDigest(b.Digest):
		return invalid("digest %.80q is not a SHA-256 in hexadecimal", b.Digest)
	case b.Size < 0 || b.Size > message.MaxBlob:
		return invalid("size is %d: use 0 to %d", b.Size, message.MaxBlob)
	case err != nil || mode&^0o777 != 0:
		return invalid("mode %.20q: use permissions such as 0644, without set-user-id and the like", b.Mode)
	case b.Path == "" || strings.ContainsFunc(b.Path, unicode.IsControl):
		return invalid("path %.80q: name a file", b.Path)
	case slices.Contains(elements, "..") || slices.Contains(elements, "."):
		return invalid("path %.80q: write it without . and ..", b.Path)
	case elements[len(elements)-1] == "":
		return invalid("path %.80q is a directory's: name the file", b.Path)
	case len(dirs) == 0:
		return "", p, fleet.Errorf(fleet.Refused, "this node takes no files: its agent's --push-dir says into which directories they may go")
	}
	p = host.Placing{Name: filepath.Clean(b.Path), Mode: fs.FileMode(mode), UID: -1, GID: -1}
	dir = dirs[0]
	if filepath.IsAbs(b.Path) {
		if dir = holding(dirs, p.Name); dir == "" {
			return "", p, fleet.Errorf(fleet.Refused, "%s is in none of the directories that this node takes files into (%s): its agent's --push-dir names them", b.Path, strings.Join(dirs, ", "))
		}
		p.Name = strings.TrimPrefix(p.Name, dir+"/")
	}
	p.UID, p.GID, err = ownerOf(b.Owner)
	return dir, p, err
}

// holding is the innermost of some directories that holds a path, "" for none.
func holding(dirs []string, path string) (dir string) {
	for _, d := range dirs {
		if strings.HasPrefix(path, d+"/") && len(d) > len(dir) {
			dir = d
		}
	}
	return dir
}

// ownerOf finds USER[:GROUP]; -1 is nobody.
func ownerOf(text string) (uid, gid int, err error) {
	if text == "" {
		return -1, -1, nil
	}
	name, group, grouped := strings.Cut(text, ":")
	u, err := user.Lookup(name)
	if err != nil {
		return -1, -1, fleet.Errorf(fleet.Failed, "owner %.80q: this node has no such user", name)
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return -1, -1, fleet.Errorf(fleet.Failed, "owner %.80q: %w", name, err)
	}
	id := u.Gid
	if grouped {
		g, err := user.LookupGroup(group)
		if err != nil {
			return -1, -1, fleet.Errorf(fleet.Failed, "owner: this node has no group %.80q", group)
		}
		id = g.Gid
	}
	if gid, err = strconv.Atoi(id); err != nil {
		return -1, -1, fleet.Errorf(fleet.Failed, "owner %.80q: %w", text, err)
	}
	return uid, gid, nil
}

// there reports whether the content is in its place already; then it has mode and
// owner too, and changed says that they were others.
func (b FilePushBody) there(ctx context.Context, p host.Placing) (same, changed bool, err error) {
	file, err := p.Open()
	if file == nil || err != nil {
		return false, false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() != b.Size {
		return false, false, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, host.Cancellable(ctx, file)); err != nil {
		return false, false, err
	}
	if hex.EncodeToString(sum.Sum(nil)) != b.Digest {
		return false, false, nil
	}
	if shared, err := p.Shared(file); shared || err != nil {
		return false, false, err // it is put there anew, and its other names stay as they are
	}
	changed, err = p.Adjust(file)
	return true, changed, err
}

// leave is how much of a file system is left free, so that the node's own work
// goes on.
const leave = 64 << 20

// room reports whether there is room for the parts that lack and for the file
// itself; the error is Busy.
func (b FilePushBody) room(dir string, blobs Blobs) error {
	parts, have := blobs.Begun(b.List)
	here, err := host.RoomOf(dir)
	if err != nil {
		return fleet.Errorf(fleet.Failed, "%w", err)
	}
	needs, lacks := uint64(b.Size), uint64(max(b.Size-have, 0))
	if there, err := host.RoomOf(parts); err == nil && there.Device == here.Device {
		needs += lacks
	} else if err == nil && there.Free < lacks+leave {
		dir, here, needs = parts, there, lacks
	}
	if here.Free < needs+leave {
		return fleet.Errorf(fleet.Busy, "no room in %s: %d MiB are free, and %d MiB with %d MiB to spare are needed", dir, here.Free>>20, needs>>20, leave>>20)
	}
	return nil
}

// put compares the whole and puts it in its place.
func (b FilePushBody) put(ctx context.Context, p host.Placing, file io.Reader, temporary string) error {
	sum := sha256.New()
	return p.Put(ctx, io.TeeReader(file, sum), temporary, func() error {
		if got := hex.EncodeToString(sum.Sum(nil)); got != b.Digest {
			return fleet.Errorf(fleet.Failed, "its parts make another file, with the digest %s", got)
		}
		return nil
	})
}

// placed is what went wrong at a path, with a kind.
func placed(path string, err error) error {
	var other host.NotAFileError
	switch {
	case errors.As(err, &other):
		return fleet.Errorf(fleet.Refused, "%s: %w: only a file is replaced", path, err)
	case fleet.KindOf(err) == fleet.Internal:
		return fleet.Errorf(fleet.Failed, "%s: %w", path, err)
	}
	return err
}
