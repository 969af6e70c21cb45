package nginx

import (
	"fmt"

	"fairlead/pkg/fleet"
)

// sameTLS finds locations that speak to one upstream with keepalive in
// differing ways. nginx keeps connections by address alone, so one location
// would be served over what another did not verify. Spoken holds, by upstream,
// how it is spoken to and by whom.
func (m *model) sameTLS(id string, host *fleet.VirtualHost, spoken map[string][2]string) fleet.Faults {
	var faults fleet.Faults
	for i, l := range host.Locations {
		if l.Proxy == nil {
			continue
		}
		up, ok := m.find("Upstream/" + l.Proxy.Upstream).(*fleet.Upstream)
		if !ok || up.Keepalive == 0 {
			continue
		}
		way := "scheme http"
		if l.Proxy.Scheme == "https" {
			way = "scheme https without tls"
			if t := l.Proxy.TLS; t != nil {
				way = fmt.Sprintf("scheme https, tls name %q, verify %t and CA %s", t.Name, t.Verify, hash8(t.CA))
			}
		}
		path := fieldOf("spec.locations", i) + ".proxy"
		if old, there := spoken[l.Proxy.Upstream]; there && old[0] != way {
			faults.Addf(path, "speaks to Upstream/%s with %s, and %s with %s: nginx keeps connections for both, so make another Upstream of the same servers", l.Proxy.Upstream, way, old[1], old[0])
			continue
		}
		spoken[l.Proxy.Upstream] = [2]string{way, id}
	}
	return faults
}
