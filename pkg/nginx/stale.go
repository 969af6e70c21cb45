package nginx

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"fairlead/pkg/host"
)

var (
	heldSocket = regexp.MustCompile(`bind\(\) to unix:(\S+) failed \(98:`)
	heldPort   = regexp.MustCompile(`bind\(\) to (\S+) failed \(98:`)
)

// removeStale removes unix sockets that nginx could not bind to because a
// master that was killed left their files. It is true when it removed one:
// only a socket that nobody listens on, at a path that nginx was just told to
// listen on.
func removeStale(said string) (removed bool) {
	for _, m := range heldSocket.FindAllStringSubmatch(said, -1) {
		removed = removeUnheard(m[1]) || removed
	}
	return removed
}

// removeUnheard removes the file of a unix socket that nobody listens on.
func removeUnheard(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(path) == nil
}

// listenSocket is a unix socket that a version listens on.
var listenSocket = regexp.MustCompile(`\blisten\s+"?unix:([^\s;"]+)`)

// clearSockets removes the files of unix sockets that a version listens on and
// that nobody listens on now: a master that was killed leaves them, and nginx
// would try to bind for 2.5 s and give up.
func clearSockets(v version) {
	for _, f := range v.Manifest.Files {
		if !strings.HasSuffix(f.Path, ".conf") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(v.Dir, f.Path))
		if err != nil {
			continue
		}
		for _, m := range listenSocket.FindAllSubmatch(text, -1) {
			removeUnheard(string(m[1]))
		}
	}
}

// explain adds to what nginx said who holds the port that it wants.
func (e *Engine) explain(said string) string {
	for _, m := range heldPort.FindAllStringSubmatch(said, -1) {
		address, err := netip.ParseAddrPort(m[1])
		if err != nil {
			continue
		}
		if who := host.Holder(address); who != "" {
			return said + "\n" + address.String() + " is held by " + who + ": end that, or have it listen elsewhere"
		}
	}
	return said
}
