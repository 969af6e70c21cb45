package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// Check is how a server is asked; CheckOf gives a complete one.
type Check struct {
	TCP      bool   // connects and asks nothing
	TLS      bool   // the certificate is not verified
	Path     string // of the GET, with the query
	Host     string // of the request, and of TLS; the address when empty
	Port     int    // instead of the server's own; 0 is that
	Status   [][2]int
	Interval time.Duration
	Timeout  time.Duration
	Fails    int // in a row until it is down
	Passes   int // in a row until it is up
}

// CheckOf fills in the defaults of a check that has been validated.
func CheckOf(c fleet.Check) Check {
	check := Check{TCP: c.TCP, TLS: c.TLS, Path: c.Path, Host: c.Host, Port: c.Port, Fails: c.Fails, Passes: c.Passes,
		Interval: duration(c.Interval, 5*time.Second), Timeout: duration(c.Timeout, 2*time.Second)}
	if check.Path == "" {
		check.Path = "/"
	}
	if check.Fails == 0 {
		check.Fails = 3
	}
	if check.Passes == 0 {
		check.Passes = 2
	}
	for _, s := range c.Status {
		if least, most, err := fleet.StatusRange(s); err == nil {
			check.Status = append(check.Status, [2]int{least, most})
		}
	}
	if len(check.Status) == 0 {
		check.Status = [][2]int{{200, 399}}
	}
	return check
}

func duration(text string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d
	}
	return otherwise
}

func (c Check) equal(o Check) bool {
	same := slices.Equal(c.Status, o.Status)
	c.Status, o.Status = nil, nil
	return same && fmt.Sprint(c) == fmt.Sprint(o)
}

// ask checks a server once; nil is well.
func (c Check) ask(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	network, at := where(address, c.Port)
	if c.TCP {
		return plain(c.connect(ctx, network, at), c.Timeout)
	}
	scheme := "http"
	if c.TLS {
		scheme = "https"
	}
	host := c.Host
	if host == "" {
		host = at
	}
	if network == "unix" && c.Host == "" {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+bracketed(host)+c.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "fairlead-check")
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.tls(),
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, at)
			}}}
	resp, err := client.Do(req)
	if err != nil {
		return plain(err, c.Timeout)
	}
	resp.Body.Close()
	for _, r := range c.Status {
		if r[0] <= resp.StatusCode && resp.StatusCode <= r[1] {
			return nil
		}
	}
	return fmt.Errorf("answers %d", resp.StatusCode)
}

func (c Check) connect(ctx context.Context, network, at string) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, at)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.TLS {
		return tls.Client(conn, c.tls()).HandshakeContext(ctx)
	}
	return nil
}

// tls verifies nothing, as nginx does not towards an upstream: the question is
// whether the server answers.
func (c Check) tls() *tls.Config {
	return &tls.Config{ServerName: c.Host, InsecureSkipVerify: true}
}

// where is the network and address to connect to.
func where(address string, port int) (network, at string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	if host, _, err := net.SplitHostPort(address); err == nil && port != 0 {
		address = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return "tcp", address
}

// bracketed writes a bare IPv6 address as a URL wants it.
func bracketed(host string) string {
	if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// plain says in few words what went wrong.
func plain(err error, timeout time.Duration) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("does not answer within %v", timeout)
	case errors.As(err, &op) && op.Op == "dial":
		return op.Err
	}
	if inner := errors.Unwrap(err); inner != nil { // without the method and the URL
		err = inner
	}
	if text := err.Error(); len(text) > mostReason {
		return errors.New(text[:mostReason] + "…")
	}
	return err
}

// mostReason is how long a reason may be: an answer that is no HTTP is quoted
// in it.
const mostReason = 200
