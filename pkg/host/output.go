package host

import (
	"crypto/sha256"
	"hash"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const defaultMaxOutput = 256 << 10

// output keeps the beginning of two streams and counts and hashes all of them.
type output struct {
	mu             sync.Mutex
	max            int
	stdout, stderr []byte
	truncated      bool
	total          int64
	hash           hash.Hash
}

func newOutput(max int) *output {
	if max <= 0 {
		max = defaultMaxOutput
	}
	return &output{max: max, hash: sha256.New()}
}

// stream is the writer of one of the two streams.
func (o *output) stream(into *[]byte) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.total += int64(len(p))
		o.hash.Write(p)
		keep := min(len(p), o.max-len(*into))
		*into = append(*into, p[:keep]...)
		o.truncated = o.truncated || keep < len(p)
		return len(p), nil // never an error: a broken pipe would change what the command does
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// signalName is "SIGTERM"; a number where the signal has no name.
func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return s.String()
}
