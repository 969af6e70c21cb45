package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Gzip compresses answers for clients that take it.
type Gzip struct {
	Off       bool     `json:"off,omitempty"`       // no compression here
	Types     []string `json:"types,omitempty"`     // media types beside text/html; common texts when empty
	Level     int      `json:"level,omitempty"`     // 1 (default, the fastest) to 9
	MinLength string   `json:"minLength,omitempty"` // shorter answers are sent as they are, "256" bytes when empty
}

// mediaType is the grammar of a media type without parameters.
var mediaType = NewPattern(`^[a-z0-9][a-z0-9!#&^_.+-]{0,63}/[a-z0-9*][a-z0-9!#&^_.+-]{0,63}$`)

func (g *Gzip) check(faults *Faults, at string) {
	if g == nil {
		return
	}
	if g.Off && (len(g.Types) > 0 || g.Level != 0 || g.MinLength != "") {
		faults.Addf(at+".off", "does not go with other fields")
	}
	atMost(faults, at+".types", len(g.Types), maxItems)
	seen := once{}
	for i, t := range g.Types {
		if !mediaType.MatchString(t) || strings.Contains(t, "*") {
			faults.Addf(item(at+".types", i), "%q is not a media type: write it as in application/json", clip(t))
		}
		seen.check(faults, item(at+".types", i), t)
	}
	if g.Level < 0 || g.Level > 9 {
		faults.Addf(at+".level", "%d: use 1 to 9", g.Level)
	}
	checkSize(faults, at+".minLength", g.MinLength, 0, 1<<20)
}

// Limits bound what a client may send, and how slowly. Without one, nginx' own
// holds.
type Limits struct {
	MaxBodySize   string `json:"maxBodySize,omitempty"`   // of a request, "1m" when empty; "0" is no limit
	BodyBuffer    string `json:"bodyBuffer,omitempty"`    // of a request that is held in memory, "1k" to "64m"
	BodyTimeout   string `json:"bodyTimeout,omitempty"`   // between two pieces of a request's body, at most 1h
	SendTimeout   string `json:"sendTimeout,omitempty"`   // between two pieces of the answer that the client takes, at most 1h
	HeaderTimeout string `json:"headerTimeout,omitempty"` // for the whole header of a request, at most 1h; of a host only
	Keepalive     string `json:"keepalive,omitempty"`     // a connection may be silent this long, at most 24h
	// HeaderBuffers bound a request's header; of a host only. Where several hosts share a listener the largest holds
	// until it is known which one is meant.
	HeaderBuffers *HeaderBuffers `json:"headerBuffers,omitempty"`
}

// HeaderBuffers bound the header of a request; no line may be larger than one
// buffer.
type HeaderBuffers struct {
	Number int    `json:"number"` // 1 to 64
	Size   string `json:"size"`   // of each, "1k" to "1m"
}

func (l *Limits) check(faults *Faults, at string) {
	if l == nil {
		return
	}
	checkSize(faults, at+".maxBodySize", l.MaxBodySize, 0, 1<<50)
	checkSize(faults, at+".bodyBuffer", l.BodyBuffer, 1<<10, 64<<20)
	checkDuration(faults, at+".bodyTimeout", l.BodyTimeout, time.Second, time.Hour)
	checkDuration(faults, at+".sendTimeout", l.SendTimeout, time.Second, time.Hour)
	checkDuration(faults, at+".headerTimeout", l.HeaderTimeout, time.Second, time.Hour)
	checkDuration(faults, at+".keepalive", l.Keepalive, 0, 24*time.Hour)
	if b := l.HeaderBuffers; b != nil {
		if b.Number < 1 || b.Number > 64 {
			faults.Addf(at+".headerBuffers.number", "%d: use 1 to 64", b.Number)
		}
		faults.add(at+".headerBuffers.size", SizeProblem(b.Size, 1<<10, 1<<20))
	}
}

// checkLocation refuses what is decided before there is a location.
func (l *Limits) checkLocation(faults *Faults, at string) {
	if l != nil && l.HeaderTimeout != "" {
		faults.Addf(at+".headerTimeout", "is for the whole host: set it in spec.limits")
	}
	if l != nil && l.HeaderBuffers != nil {
		faults.Addf(at+".headerBuffers", "is for the whole host: set it in spec.limits")
	}
}

// ErrorPage stands in for nginx's own page. Either path or text is set.
type ErrorPage struct {
	Codes       []int  `json:"codes"`                 // 400 to 599, at least one
	Path        string `json:"path,omitempty"`        // of this host, served with the status of the error
	Text        string `json:"text,omitempty"`        // body, sent as it is; at most 4000 bytes
	ContentType string `json:"contentType,omitempty"` // media type of the text, text/plain when empty
}

func checkErrorPages(faults *Faults, at string, pages []ErrorPage) {
	atMost(faults, at, len(pages), maxItems)
	seen := once{}
	for i, p := range pages {
		path := item(at, i)
		if len(p.Codes) == 0 {
			faults.Addf(path+".codes", "is missing: name at least one, as in [404]")
		}
		for j, code := range p.Codes {
			if code < 400 || code > 599 || code == 444 || code == 499 {
				faults.Addf(item(path+".codes", j), "%d has no error page: use 400 to 599, without 444 and 499", code)
			}
			seen.check(faults, item(path+".codes", j), fmt.Sprint(code))
		}
		switch {
		case p.Path != "" && p.Text != "", p.Path == "" && p.Text == "":
			faults.Addf(path, "needs either path or text")
		case p.Path != "":
			faults.add(path+".path", locationPathProblem(p.Path))
			if p.ContentType != "" {
				faults.Addf(path+".contentType", "goes with text only")
			}
		default:
			(&Return{Code: 404, Text: p.Text, ContentType: p.ContentType}).check(faults, path)
		}
	}
}

// Log says what is logged of each request.
type Log struct {
	// Target is node (default), the node's log forwarding; file, a file named after the host in the node's directory of
	// logs; or off.
	Target string `json:"target,omitempty"`
	// Format is combined (default) or json, one object a line.
	Format string `json:"format,omitempty"`
	// Fields stand in for those of the format: names of variables of nginx that a log may hold, without `$`. In format
	// combined they stand in quotes, with a space between.
	Fields []string `json:"fields,omitempty"`
	// Percent of requests are logged, chosen by chance; 0 is all.
	Percent int `json:"percent,omitempty"`
}

// LogFields are the variables that a log may hold: none that hold a secret,
// such as $http_authorization or $cookie_session.
var LogFields = []string{
	"body_bytes_sent", "bytes_sent", "connection", "connection_requests", "content_length", "content_type", "host", "hostname",
	"http_referer", "http_user_agent", "http_x_forwarded_for", "http_x_request_id", "https", "msec", "pid", "pipe", "proxy_protocol_addr", "remote_addr",
	"remote_port", "remote_user", "request", "request_completion", "request_id", "request_length", "request_method", "request_time",
	"request_uri", "scheme", "sent_http_content_type", "server_addr", "server_name", "server_port", "server_protocol", "ssl_cipher",
	"ssl_protocol", "ssl_server_name", "ssl_session_reused", "status", "time_iso8601", "time_local", "upstream_addr", "upstream_bytes_received",
	"upstream_cache_status", "upstream_connect_time", "upstream_header_time", "upstream_response_time", "upstream_status", "uri",
}

func (l *Log) check(faults *Faults, at string) {
	if l == nil {
		return
	}
	oneOf(faults, at+".target", l.Target, "", "node", "file", "off")
	oneOf(faults, at+".format", l.Format, "", "combined", "json")
	if l.Target == "off" && (l.Format != "" || len(l.Fields) > 0 || l.Percent != 0) {
		faults.Addf(at+".target", "off does not go with other fields")
	}
	seen := once{}
	for i, f := range l.Fields {
		if !slices.Contains(LogFields, f) {
			faults.Addf(item(at+".fields", i), "%s as a field of a log: use one of %s", shown(f), strings.Join(LogFields, ", "))
		}
		seen.check(faults, item(at+".fields", i), f)
	}
	if l.Percent < 0 || l.Percent > 100 {
		faults.Addf(at+".percent", "%d: use 1 to 100", l.Percent)
	}
}
