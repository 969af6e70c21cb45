package nginx

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"fairlead/pkg/fleet"
)

var gzipTypes = []string{"text/plain", "text/css", "text/xml", "text/javascript", "application/javascript", "application/json",
	"application/xml", "application/rss+xml", "image/svg+xml", "application/wasm"}

func gzip(w *writer, g *fleet.Gzip) {
	switch {
	case g == nil:
		return
	case g.Off:
		w.line("gzip off;")
		return
	}
	types := slices.DeleteFunc(slices.Clone(g.Types), func(t string) bool { return t == "text/html" }) // always is one
	if len(g.Types) == 0 {
		types = gzipTypes
	}
	w.line("gzip on;")
	w.line("gzip_vary on;")
	w.line("gzip_proxied any;")
	w.line("gzip_comp_level %d;", cmp.Or(g.Level, 1))
	w.line("gzip_min_length %d;", bytesOf(cmp.Or(g.MinLength, "256")))
	optional(w, "gzip_types", strings.Join(types, " "))
}

// limits are those that a location may have as well.
func limits(w *writer, l *fleet.Limits) {
	if l == nil {
		return
	}
	optional(w, "client_max_body_size", l.MaxBodySize)
	optional(w, "client_body_buffer_size", l.BodyBuffer)
	optional(w, "client_body_timeout", l.BodyTimeout)
	optional(w, "send_timeout", l.SendTimeout)
	optional(w, "keepalive_timeout", l.Keepalive)
}

// headerLimits are those of a server.
func headerLimits(w *writer, l *fleet.Limits) {
	optional(w, "client_header_timeout", l.HeaderTimeout)
	if b := l.HeaderBuffers; b != nil {
		w.line("large_client_header_buffers %d %s;", b.Number, b.Size)
	}
}

// bytesOf is a checked size in bytes, 0 where there is none.
func bytesOf(size string) int64 {
	unit := int64(1)
	switch {
	case strings.HasSuffix(size, "k"):
		unit = 1 << 10
	case strings.HasSuffix(size, "m"):
		unit = 1 << 20
	}
	n, _ := strconv.ParseInt(strings.TrimRight(size, "km"), 10, 64)
	return n * unit
}
