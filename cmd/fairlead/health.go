package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

func newHealth(a *app) *cobra.Command {
	var t targets
	var w waiting
	c := &cobra.Command{
		Use:   "health " + targetsUse,
		Short: "ask nodes how nginx and the host are, now",
		Example: `  fairlead health node1
  fairlead health -l role=edge --json`,
		ValidArgsFunction: a.completeMany,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			nodes, err := t.find(ctx, a, c, args)
			if err != nil {
				return err
			}
			outcomes, err := a.command(ctx, c, nodes, subjects.MethodHealth, "nginx", nil, w)
			if err != nil {
				return err
			}
			if a.events || a.output != "table" && a.output != "wide" {
				return a.printOutcomes(ctx, c, outcomes)
			}
			return a.printHealth(ctx, c, outcomes)
		}),
	}
	t.flags(a, c)
	w.flags(a, c)
	return c
}

func (a *app) printHealth(ctx context.Context, c *client.Client, outcomes []client.Outcome) error {
	seen := a.lastSeen(ctx, c, outcomes)
	t := &table{app: a}
	t.row("NODE", "NGINX", "VERSION", "WORKERS", "REVISION", "DIGEST", "ACTIVE", "REQUESTS", "CPU", "MEMORY", "DISK", "LOAD")
	for _, o := range outcomes {
		var h handlers.HealthReport
		if o.State != message.Succeeded || json.Unmarshal(o.Answer.Result, &h) != nil {
			t.row(o.Node, stateOf(o, seen)+" "+explain(o))
			continue
		}
		up := "down"
		if h.Nginx.Up {
			up = "up"
		}
		t.row(o.Node, up, h.Nginx.Version, fmt.Sprint(h.Nginx.Workers), fmt.Sprint(h.Nginx.Revision), short(h.Nginx.Running),
			fmt.Sprint(h.Nginx.Counters.Active), fmt.Sprint(h.Nginx.Counters.Requests),
			fmt.Sprintf("%.0f%%", h.Host.CPUPercent), share(h.Host.MemoryUsedBytes, h.Host.MemoryTotalBytes),
			share(h.Host.DiskUsedBytes, h.Host.DiskTotalBytes), fmt.Sprintf("%.2f", h.Host.Load1))
		for _, fault := range h.Faults {
			t.row("", fault)
		}
		for _, s := range h.Nginx.Servers {
			t.row("", serverText(s, h.At))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return a.end(ctx, outcomes)
}

func share(used, total uint64) string {
	if total == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%% of %s", 100*float64(used)/float64(total), size(total))
}

func size(bytes uint64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, suffix := float64(bytes), ""
	for _, s := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		value, suffix = value/unit, s
		if value < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}
