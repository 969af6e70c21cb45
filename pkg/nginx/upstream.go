package nginx

import (
	"fmt"

	"fairlead/pkg/fleet"
)

// strategies maps what a resource says to nginx's directive.
var strategies = map[string]string{"": "", "roundRobin": "", "leastConn": "least_conn", "ipHash": "ip_hash"}

// upstream renders one group of servers.
func upstream(r fleet.Resource, u *fleet.Upstream) string {
	w := new(writer)
	w.line("# %s", r.ID())
	w.open("upstream %s", r.Metadata.Name)
	if s := strategies[u.Strategy]; s != "" {
		w.line("%s;", s)
	}
	for _, s := range u.Servers {
		parameters := ""
		if s.Weight > 1 {
			parameters += fmt.Sprintf(" weight=%d", s.Weight)
		}
		if s.MaxFails != nil {
			parameters += fmt.Sprintf(" max_fails=%d", *s.MaxFails)
		}
		if s.Backup {
			parameters += " backup"
		}
		w.line("server %s%s;", s.Address, parameters)
	}
	if u.Keepalive > 0 { // after the strategy, or nginx ignores that
		w.line("keepalive %d;", u.Keepalive)
	}
	w.close()
	return w.String()
}
