package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// askTime bounds one request of a client.
const askTime = 10 * time.Second

// get asks over a connection of its own.
func get(address, name string) (string, error) {
	c, err := dial(address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	text, _, err := c.request("GET", name, "Connection: close\r\n")
	return text, err
}

// line is a connection that never tries again by itself.
type line struct {
	net.Conn
	in *bufio.Reader
}

func dial(address string) (*line, error) {
	conn, err := net.DialTimeout("tcp", address, askTime)
	if err != nil {
		return nil, err
	}
	return &line{conn, bufio.NewReader(conn)}, nil
}

// request sends one and reads its answer; last says that the server wants no
// other on this connection.
func (l *line) request(method, name, headers string) (text string, last bool, err error) {
	if err := l.SetDeadline(time.Now().Add(askTime)); err != nil {
		return "", false, err
	}
	body := ""
	if method == http.MethodPost {
		body = "hello"
		headers += "Content-Length: 5\r\n"
	}
	if _, err := io.WriteString(l, method+" / HTTP/1.1\r\nHost: "+name+"\r\n"+headers+"\r\n"+body); err != nil {
		return "", false, err
	}
	resp, err := http.ReadResponse(l.in, &http.Request{Method: method})
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return strings.TrimSpace(string(data)), resp.Close, err
}
