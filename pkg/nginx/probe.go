package nginx

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
)

const (
	// probesAtOnce bounds the connections that a verdict opens: each worker has
	// 1,024, and customers need them.
	probesAtOnce = 16
	// probeTime is what one probe may take, and each probe adds probeShare to
	// what all may: 0.2 ms without TLS, up to 3 ms with it on a slow core.
	probeTime  = 5 * time.Second
	probeShare = 10 * time.Millisecond
	// mostBlamed is how many failed probes a message tells of.
	mostBlamed = 3
)

// blamed is what one probe found wrong.
type blamed struct{ owner, text string }

// ask sends the probes and waits for all of them: the failure names the
// resources whose servers do not answer as they should.
func (e *Engine) ask(ctx context.Context, probes []probe) *failure {
	ctx, cancel := context.WithTimeout(ctx, probeTime+probeShare*time.Duration(len(probes)))
	defer cancel()
	logged := e.errorLogEnd()
	slices.SortStableFunc(probes, func(a, b probe) int { return strings.Compare(a.line(), b.line()) })
	next := make(chan probe)
	var wrong []blamed
	var mu sync.Mutex
	var askers sync.WaitGroup
	for range min(probesAtOnce, len(probes)) {
		askers.Go(func() {
			a := asker{agent: e.probeAgent()}
			defer a.hangUp()
			for p := range next {
				if err := a.ask(ctx, p); err != nil {
					mu.Lock()
					wrong = append(wrong, blamed{p.owner, fmt.Sprintf("%s on %s %v", p.name, p.address, err)})
					mu.Unlock()
				}
			}
		})
	}
	for _, p := range probes {
		next <- p
	}
	close(next)
	askers.Wait()
	if len(wrong) == 0 {
		return nil
	}
	slices.SortFunc(wrong, func(a, b blamed) int { return strings.Compare(a.owner+a.text, b.owner+b.text) })
	f := &failure{kind: fleet.Failed}
	var lines []string
	for i, w := range wrong {
		if !slices.Contains(f.owners, w.owner) {
			f.owners = append(f.owners, w.owner)
		}
		if i < mostBlamed {
			lines = append(lines, w.owner+": "+w.text)
		}
	}
	if more := len(wrong) - mostBlamed; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more probes failed", more))
	}
	if said := e.errorLogSince(logged); said != "" {
		lines = append(lines, said)
	}
	f.text = strings.Join(lines, "\n")
	return f
}

// asker sends probes one after another. Those without TLS go over one
// connection while they are for one address and nginx keeps it open: to open
// one costs more than to ask.
type asker struct {
	agent string
	conn  net.Conn // kept open after the last probe, nil where none is
	reads *bufio.Reader
	to    string // where conn leads
}

func (a *asker) hangUp() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// ask is nil where the server answers as its configuration says. A connection
// that breaks is tried once more: a worker may have been out of them.
func (a *asker) ask(ctx context.Context, p probe) (err error) {
	tries := 2
	if a.conn != nil && a.to == p.line() {
		tries++ // nginx may close what is kept at any time
	} else {
		a.hangUp()
	}
	for range tries {
		var broke bool
		if broke, err = a.once(ctx, p); !broke || ctx.Err() != nil {
			return err
		}
		a.hangUp()
	}
	return err
}

// line is the connection that a probe needs: "" for one of its own.
func (p probe) line() string {
	if p.tls {
		return ""
	}
	return fmt.Sprintf("%s %s %t", p.network, p.address, p.proxied)
}

func (a *asker) once(ctx context.Context, p probe) (broke bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if a.conn == nil {
		if done, broke, err := a.dial(ctx, p); done || err != nil {
			return broke, err
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = a.conn.SetDeadline(deadline)
	}
	keep, broke, err := a.exchange(p)
	if !keep || p.tls {
		a.hangUp()
	}
	return broke, err
}

// dial opens the connection; done says that there is no more to ask.
func (a *asker) dial(ctx context.Context, p probe) (done, broke bool, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, p.network, p.address)
	if err != nil {
		return true, true, fmt.Errorf("takes no connection: %w", err)
	}
	a.conn, a.to = conn, p.line()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if p.proxied {
		if _, err := io.WriteString(conn, "PROXY UNKNOWN\r\n"); err != nil {
			return true, true, fmt.Errorf("takes no proxy protocol: %w", err)
		}
	}
	if p.tls {
		secure := tls.Client(conn, &tls.Config{
			ServerName: p.name, MinVersion: tls.VersionTLS10,
			InsecureSkipVerify: true, // its issuer may be unknown here; the leaf is compared
		})
		a.conn = secure
		err := secure.HandshakeContext(ctx)
		var alert tls.AlertError
		switch {
		case err != nil && p.picky && errors.As(err, &alert):
			a.hangUp()
			return true, false, nil // the probe may lack what is asked of clients
		case err != nil:
			return true, true, fmt.Errorf("does not speak TLS: %w", err)
		}
		if err := p.checkLeaf(secure.ConnectionState()); err != nil {
			a.hangUp()
			return true, false, err
		}
	}
	a.reads = bufio.NewReader(a.conn)
	return false, false, nil
}

// exchange asks; keep says that another probe may follow on the connection.
func (a *asker) exchange(p probe) (keep, broke bool, err error) {
	method := "TRACE"
	if p.head {
		method = http.MethodHead
	}
	_, err = fmt.Fprintf(a.conn, "%s / HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n", method, p.name, a.agent)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(a.reads, &http.Request{Method: method})
	}
	switch {
	case err != nil && p.silent:
		return false, false, nil
	case err != nil:
		return false, true, fmt.Errorf("does not answer: %w", err)
	}
	defer resp.Body.Close()
	if p.head && resp.StatusCode >= 500 && !p.asked[resp.StatusCode] {
		err = fmt.Errorf("answers %s to %s /, which nginx says by itself", resp.Status, method)
	}
	_, ended := io.CopyN(io.Discard, resp.Body, mostAnswer)
	return !resp.Close && errors.Is(ended, io.EOF), false, err
}

// mostAnswer is what is read of an answer before its connection is given up:
// a page of errors, not a file.
const mostAnswer = 64 << 10

// checkLeaf compares the certificate that was answered with those that the
// server names. One that cannot be read was nginx's to judge.
func (p probe) checkLeaf(state tls.ConnectionState) error {
	known := false
	for _, path := range p.leaves {
		data, err := os.ReadFile(path)
		block, _ := pem.Decode(data)
		if err != nil || block == nil {
			continue
		}
		known = true
		if len(state.PeerCertificates) > 0 && bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes) {
			return nil
		}
	}
	if !known || len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	return fmt.Errorf("answers with the certificate of %s (serial %x) and not with that of %s", leaf.Subject, leaf.SerialNumber, filepath.Base(p.leaves[0]))
}

// errorLogEnd is where the error log of requests ends now.
func (e *Engine) errorLogEnd() int64 {
	info, err := os.Stat(e.cfg.errorLog())
	if err != nil {
		return 0
	}
	return info.Size()
}

// mostSaid is how much of the error log is looked at.
const mostSaid = 64 << 10

// errorLogSince is the last line about a probe that nginx logged since then,
// "" where there is none: what it has against a request it says only there.
func (e *Engine) errorLogSince(offset int64) string {
	f, err := os.Open(e.cfg.errorLog())
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.NewSectionReader(f, offset, mostSaid))
	last := ""
	for line := range strings.Lines(string(data)) {
		if m := errorLine.FindStringIndex(line); m != nil && strings.Contains(line, `request: "HEAD / HTTP/1.1"`) {
			last = strings.TrimSpace(line[m[0]:])
		}
	}
	return last
}

// probeAgent is the User-Agent of probes. Nobody else knows it, so nobody else
// can keep requests out of the logs with it.
func (e *Engine) probeAgent() string { return "fairlead-probe/" + e.secret }

// secretBytes is few enough for the User-Agent to fit into nginx's map, whose
// buckets a ConfigFile may want to size itself.
const secretBytes = 12

// secretOf reads a secret of this node, or makes one.
func secretOf(path string) (string, error) {
	data, err := os.ReadFile(path)
	if text := strings.TrimSpace(string(data)); err == nil && len(text) == 2*secretBytes {
		return text, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fleet.Errorf(fleet.Unavailable, "read the key of probes: %w", err)
	}
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails
	text := hex.EncodeToString(random)
	if err := host.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		return "", fleet.Errorf(fleet.Unavailable, "write the key of probes: %w", err)
	}
	return text, nil
}
