package broker

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fairlead/pkg/fleet"
)

// URL is where clients connect, "" before Ready and for a broker that does
// not listen.
func (b *Broker) URL() string {
	s := b.server.Load()
	if s == nil || b.config.Port == -1 {
		return ""
	}
	return s.ClientURL()
}

// InProcessConn makes a connection within the process, as nats.go asks for it
// by nats.InProcessServer. It needs credentials like any other.
func (b *Broker) InProcessConn() (net.Conn, error) {
	s := b.server.Load()
	if s == nil {
		return nil, fleet.Errorf(fleet.Unavailable, "broker %s is not ready", b.config.Name)
	}
	return s.InProcessConn()
}

// MonitorURL is where the HTTP monitor answers, "" where it is off.
func (b *Broker) MonitorURL() string {
	s := b.server.Load()
	if s == nil || s.MonitorAddr() == nil {
		return ""
	}
	return "http://" + s.MonitorAddr().String()
}

// Stats are counts and costs of a running broker.
type Stats struct {
	Connections   int
	Subscriptions int
	Memory        int64 // bytes resident, of the whole process
	CPU           float64
	InMsgs        int64
	OutMsgs       int64
	InBytes       int64
	OutBytes      int64
	SlowConsumers int64
	Stored        int64 // bytes in JetStream's files
}

// Stats asks the server; the error is Unavailable before Ready.
func (b *Broker) Stats() (Stats, error) {
	s := b.server.Load()
	if s == nil {
		return Stats{}, fleet.Errorf(fleet.Unavailable, "broker %s is not ready", b.config.Name)
	}
	v, err := s.Varz(nil)
	if err != nil {
		return Stats{}, fmt.Errorf("broker stats: %w", err)
	}
	stats := Stats{
		Connections: v.Connections, Subscriptions: int(v.Subscriptions), Memory: v.Mem, CPU: v.CPU,
		InMsgs: v.InMsgs, OutMsgs: v.OutMsgs, InBytes: v.InBytes, OutBytes: v.OutBytes, SlowConsumers: v.SlowConsumers,
	}
	if js := v.JetStream.Stats; js != nil {
		stats.Stored = int64(js.Store)
	}
	return stats, nil
}

// listener tells who listens at an address, "" for nobody. A NATS server
// greets with its name, ours after a handshake.
func listener(addr string) string {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	if name := greeting(c); name != "" {
		return name
	}
	// Who it is, is what this asks; nothing is told or believed.
	secure, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return "another program"
	}
	defer secure.Close()
	if name := greeting(secure); name != "" {
		return name
	}
	return "another program that speaks TLS"
}

// greeting names the NATS server that greets, "" for one that does not.
func greeting(c net.Conn) string {
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	line, _ := bufio.NewReader(c).ReadString('\n')
	text, found := strings.CutPrefix(line, "INFO ")
	var info server.Info
	if !found || json.Unmarshal([]byte(text), &info) != nil {
		return ""
	}
	return fmt.Sprintf("NATS server %q (version %s)", info.Name, info.Version)
}
