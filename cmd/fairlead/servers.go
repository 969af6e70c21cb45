package main

import (
	"encoding/json"
	"fmt"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/nginx"
)

// serversOf are the servers of upstreams that a node does not use as written,
// by its last health report.
func serversOf(report json.RawMessage) []nginx.ServerStatus {
	var h handlers.HealthReport
	if len(report) == 0 || json.Unmarshal(report, &h) != nil {
		return nil
	}
	return h.Nginx.Servers
}

// serverText is "Upstream/app 192.0.2.1:80: down since 12s ago: answers 500".
func serverText(s nginx.ServerStatus, now time.Time) string {
	text := fmt.Sprintf("Upstream/%s %s: %s", s.Upstream, s.Server, s.State)
	if !s.Since.IsZero() {
		text += since(s.Since, now)
	}
	return text + ": " + oneLine(s.Message)
}
