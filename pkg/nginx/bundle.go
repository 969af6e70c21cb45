package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// Desired is what one node's nginx should be: the value stored for the node
// under the desired bucket, and the input of rendering in station and agent
// alike.
type Desired struct {
	Revision  uint64           `json:"revision"`          // grows by one per change; a rollback is a new one
	Digest    string           `json:"digest"`            // of the bundle that Address and Resources render to
	Address   string           `json:"address,omitempty"` // the node's default listen address; "" is every address
	Resources []fleet.Resource `json:"resources"`
	Unfit     []Unfit          `json:"unfit,omitempty"` // what selects the node and was left out
	By        string           `json:"by,omitempty"`    // who changed it
	At        time.Time        `json:"at"`
	Message   string           `json:"message,omitempty"` // why, in the words of who changed it
	// Fleet is the sequence of the bucket `fleet` that it was made from: the
	// resources as they were then. Cause is the revision of the newest of them that
	// made it another, and By and Message are of that; empty where none did, but
	// the register.
	Fleet uint64 `json:"fleet,omitempty"`
	Cause uint64 `json:"cause,omitempty"`
	// Rollout is the id of the rollout that released the node to it, or took it back.
	Rollout string `json:"rollout,omitempty"`
}

// File is one file of a bundle.
type File struct {
	Path    string // relative to the version's directory, with slashes
	Mode    fs.FileMode
	Content []byte
	// Owner is the ID of the resource that the file was rendered from, "" for
	// Fairlead's own. It is not part of the digest.
	Owner string
	// Secret is what Content stands for, nil where Content stands for itself.
	Secret *Secret

	source string // hash of the content before it was filled in, see fill
	// bundled is what the digest is made from, nil where staging changed nothing:
	// neither filled anything in nor put a secret in the place of its stand-in.
	bundled []byte
	parts   []File // that lie together in this one, see together
}

// Bundle is the set of files that resources render to.
type Bundle struct {
	Digest string // 64 hex digits: SHA-256 over path, mode and content of every file, sorted by path
	Files  []File // sorted by path
}

// NewBundle sorts the files and computes the digest. Each field that is hashed
// is preceded by its length, so that no two sets of files look the same.
func NewBundle(files []File) Bundle {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d %s %o %d\n", len(f.Path), f.Path, f.Mode.Perm(), len(f.Content))
		h.Write(f.Content)
	}
	return Bundle{Digest: hex.EncodeToString(h.Sum(nil)), Files: files}
}

// Short is the beginning of a digest, enough for people and directory names.
func Short(digest string) string { return digest[:min(12, len(digest))] }

// uses says whether any file lies below a directory of the bundle.
func (b Bundle) uses(dir string) bool {
	return slices.ContainsFunc(b.Files, func(f File) bool { return strings.HasPrefix(f.Path, dir+"/") })
}
