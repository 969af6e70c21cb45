package broker

import (
	"net"
	"os"

	"fairlead/pkg/identity"
)

// Hosts are the names and addresses by which clients may reach a broker that
// listens at an address: what its certificate has to be for. Where that is
// every address of the host, they are all that the host knows of itself; a
// name in the DNS or an address before it has to be said.
func Hosts(listen string) []string {
	ip := net.ParseIP(listen)
	if listen != "" && (ip == nil || !ip.IsUnspecified()) {
		return []string{listen}
	}
	var hosts []string
	if name, err := os.Hostname(); err == nil && identity.CheckHosts([]string{name}) == nil {
		hosts = append(hosts, name)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return hosts
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}
