package bench

import (
	"net"
	"sync/atomic"
)

// sources are how many addresses of this host connections come from.
const sources = 250

var dialled atomic.Uint32

// dialBroker connects to a broker; to one of this host from its many addresses in turns.
// One address has 28,000 ports, and with ten thousand of them in use or just left the
// kernel looks at thousands for each connection. With 10,000 nodes that was all the time of two processors.
func dialBroker(network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host).To4(); err != nil || ip == nil || !ip.IsLoopback() {
		return net.Dial(network, address)
	}
	from := net.IPv4(127, 1, 0, byte(1+dialled.Add(1)%sources))
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial(network, address)
}
