package bench

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// wire speaks NATS over one connection with next to nothing of its own: one
// goroutine that reads, a small buffer, no queue, no reconnection. Its floor is the
// broker's.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	mu   sync.Mutex // of writing
}

// wireBuffer is what is read at once, in bytes; longer messages are read in parts.
const wireBuffer = 512

// connectWire greets, signs the nonce, and subscribes.
func connectWire(conn net.Conn, creds bus.Credentials, subject string) (*wire, error) {
	w := &wire{conn: conn, in: bufio.NewReaderSize(conn, wireBuffer)}
	line, err := w.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	text, found := strings.CutPrefix(line, "INFO ")
	var info struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil || !found {
		return nil, fleet.Errorf(fleet.Invalid, "the broker greets with %q", line)
	}
	signature, err := creds.Sign([]byte(info.Nonce))
	if err != nil {
		return nil, err
	}
	hello, err := json.Marshal(map[string]any{"headers": true, "protocol": 1, "lang": "wire", "version": "1", "name": creds.UserName(),
		"jwt": creds.UserJWT(), "sig": base64.RawURLEncoding.EncodeToString(signature)})
	if err != nil {
		return nil, err
	}
	if err := w.write([]byte(fmt.Sprintf("CONNECT %s\r\nSUB %s 1\r\nPING\r\n", hello, subject))); err != nil {
		return nil, err
	}
	for {
		line, err := w.in.ReadString('\n')
		switch {
		case err != nil:
			return nil, err
		case strings.HasPrefix(line, "-ERR"):
			return nil, fleet.Errorf(fleet.Refused, "the broker says %q", strings.TrimSpace(line))
		case strings.HasPrefix(line, "PONG"):
			return w, nil
		}
	}
}

func (w *wire) write(data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.conn.Write(data)
	return err
}

// publish sends a signed message to its stream, without waiting for an answer.
func (w *wire) publish(m message.Message) error {
	var head bytes.Buffer
	head.WriteString("NATS/1.0\r\n")
	for name, values := range m.Headers() {
		for _, value := range values {
			head.WriteString(name + ": " + value + "\r\n")
		}
	}
	head.WriteString("\r\n")
	out := make([]byte, 0, head.Len()+len(m.Wire())+160)
	out = fmt.Appendf(out, "HPUB %s %d %d\r\n", m.StoredSubject(), head.Len(), head.Len()+len(m.Wire()))
	out = append(append(append(out, head.Bytes()...), m.Wire()...), "\r\n"...)
	return w.write(out)
}

// read hands over what streams show, until the connection ends.
func (w *wire) read(handle func(message.Delivery) error) error {
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return err
		}
		switch verb, rest, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "PING":
			err = w.write([]byte("PONG\r\n"))
		case "-ERR":
			err = fleet.Errorf(fleet.Refused, "the broker says %s", rest)
		case "MSG", "HMSG":
			var d message.Delivery
			if d, err = w.message(verb == "HMSG", strings.Fields(rest)); err == nil {
				err = handle(d)
			}
		}
		if err != nil {
			return err
		}
	}
}

// message reads one whose first line is subject, sid, perhaps a reply, perhaps the
// size of its headers, and its size.
func (w *wire) message(headed bool, fields []string) (d message.Delivery, err error) {
	sizes := 1
	if headed {
		sizes = 2
	}
	if len(fields) < 2+sizes {
		return d, fleet.Errorf(fleet.Invalid, "a message begins with %q", fields)
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return d, err
	}
	data := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(w.in, data); err != nil {
		return d, err
	}
	data = data[:size]
	head := 0
	if headed {
		if head, err = strconv.Atoi(fields[len(fields)-2]); err != nil || head > size {
			return d, fleet.Errorf(fleet.Invalid, "a message of %d bytes has headers of %q", size, fields[len(fields)-2])
		}
	}
	reply := ""
	if len(fields) > 2+sizes {
		reply = fields[2]
	}
	stored, ok := bus.Shown(reply, headersOf(string(data[:head])), data[head:])
	if !ok {
		return d, fleet.Errorf(fleet.Invalid, "a message on %s that no stream shows", fields[0])
	}
	return message.Receive(stored), nil
}

func headersOf(text string) map[string][]string {
	headers := make(map[string][]string)
	for line := range strings.SplitSeq(text, "\r\n") {
		if name, value, found := strings.Cut(line, ":"); found {
			headers[name] = append(headers[name], strings.TrimSpace(value))
		}
	}
	return headers
}
