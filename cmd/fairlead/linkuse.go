package main

import (
	"encoding/json"
	"time"

	"fairlead/handlers"
)

// linkText is what a node's link carried by its last health report: "3.1 MiB today,
// 12.4 MiB yesterday", with the date where that was not today, and "" where it does
// not say.
func linkText(report json.RawMessage, now time.Time) string {
	var h handlers.HealthReport
	if len(report) == 0 || json.Unmarshal(report, &h) != nil || h.Link == nil {
		return ""
	}
	day, before := "today", "yesterday"
	if h.Link.Day != now.UTC().Format(time.DateOnly) {
		day, before = "on "+h.Link.Day, "the day before"
	}
	text := size(h.Link.InBytes+h.Link.OutBytes) + " " + day
	if h.Link.YesterdayBytes > 0 {
		text += ", " + size(h.Link.YesterdayBytes) + " " + before
	}
	return text
}
