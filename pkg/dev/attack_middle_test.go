package dev_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// middle is a broker that was taken over, as far as one of its clients sees it:
// it has the broker's certificate, and changes what the broker says.
type middle struct {
	listener net.Listener
	upstream string
	secure   *tls.Config

	mu    sync.Mutex
	frame func(frame) []frame // what becomes of a message; nil for itself
	line  func(string) string // of everything else that is said; nil for itself
	conns []net.Conn
}

// frame is a message as a broker delivers it.
type frame struct {
	subject, sid, reply string
	header, body        []byte
}

func newMiddle(r *realm) *middle {
	r.t.Helper()
	dir := filepath.Join(r.Data(), "identity", "broker")
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key"))
	if err != nil {
		r.t.Fatal(err)
	}
	ca, err := os.ReadFile(r.TLS().CA)
	if err != nil {
		r.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		r.t.Fatal(err)
	}
	m := &middle{listener: l, upstream: strings.TrimPrefix(r.URL(), "tls://"), secure: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { m.serve(c) })
		}
	})
	r.t.Cleanup(func() {
		_ = l.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			_ = c.Close()
		}
		m.mu.Unlock()
		all.Wait()
	})
	return m
}

func (m *middle) url() string { return "tls://" + m.listener.Addr().String() }

// plays sets what is done from now on.
func (m *middle) plays(change func(frame) []frame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frame = change
}

func (m *middle) asks(line func(string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.line = line
}

func (m *middle) serve(c net.Conn) {
	defer c.Close()
	up, err := tls.Dial("tcp", m.upstream, m.secure)
	if err != nil {
		return
	}
	defer up.Close()
	m.mu.Lock()
	m.conns = append(m.conns, c, up)
	m.mu.Unlock()
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = io.Copy(up, c)
		_ = up.Close()
	})
	m.down(c, bufio.NewReaderSize(up, 64<<10))
	_ = c.Close()
	done.Wait()
}

// down copies what the broker says, message by message.
func (m *middle) down(c io.Writer, from *bufio.Reader) {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return
		}
		f, ok, err := read(line, from)
		if err != nil {
			return
		}
		m.mu.Lock()
		change, other := m.frame, m.line
		m.mu.Unlock()
		var out []byte
		switch {
		case !ok && other != nil:
			out = []byte(other(line))
		case !ok:
			out = []byte(line)
		case change == nil:
			out = f.encode()
		default:
			for _, f := range change(f) {
				out = append(out, f.encode()...)
			}
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// read reads the rest of a message; ok is false for a line that is none.
func read(line string, from *bufio.Reader) (f frame, ok bool, err error) {
	words := strings.Fields(line)
	if len(words) < 4 || words[0] != "MSG" && words[0] != "HMSG" {
		return f, false, nil
	}
	f.subject, f.sid = words[1], words[2]
	rest, header := words[3:], 0
	if words[0] == "HMSG" {
		if header, err = strconv.Atoi(rest[len(rest)-2]); err != nil {
			return f, false, err
		}
		rest = append(rest[:len(rest)-2:len(rest)-2], rest[len(rest)-1])
	}
	total, err := strconv.Atoi(rest[len(rest)-1])
	if err != nil {
		return f, false, err
	}
	if len(rest) == 2 {
		f.reply = rest[0]
	}
	data := make([]byte, total+2)
	if _, err := io.ReadFull(from, data); err != nil {
		return f, false, err
	}
	f.header, f.body = data[:header], data[header:total]
	return f, true, nil
}

func (f frame) encode() []byte {
	var b bytes.Buffer
	word := "MSG"
	if len(f.header) > 0 {
		word = "HMSG"
	}
	fmt.Fprintf(&b, "%s %s %s", word, f.subject, f.sid)
	if f.reply != "" {
		fmt.Fprintf(&b, " %s", f.reply)
	}
	if len(f.header) > 0 {
		fmt.Fprintf(&b, " %d", len(f.header))
	}
	fmt.Fprintf(&b, " %d\r\n%s%s\r\n", len(f.header)+len(f.body), f.header, f.body)
	return b.Bytes()
}
