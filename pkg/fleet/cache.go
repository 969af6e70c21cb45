package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cache keeps answers of the upstream on the node's disk. What an answer says
// of its own life (Cache-Control, Expires, Set-Cookie, Vary) counts first.
// Requests with the header Authorization are neither answered from the cache
// nor kept, unless it is part of the key.
type Cache struct {
	Size     string `json:"size,omitempty"`     // memory for keys, "10m" when empty: about 8,000 a megabyte; at most 1024m
	MaxSize  string `json:"maxSize,omitempty"`  // on disk, "1024m" when empty; the least used goes first
	Inactive string `json:"inactive,omitempty"` // what nobody asks for this long goes, "10m" when empty; at most a year
	// Valid is how long answers live that do not say so themselves; without it only those that do are kept.
	Valid []CacheValid `json:"valid,omitempty"`
	// Key tells answers apart: parts out of scheme, method, host, uri (path and query as sent), path, args,
	// header:NAME and cookie:NAME; [scheme, host, uri] when empty.
	Key []string `json:"key,omitempty"`
	// Bypass names what makes a request go to the upstream, as header:NAME or cookie:NAME; the answer is kept.
	Bypass []string `json:"bypass,omitempty"`
	// NoStore names what keeps the answer to a request out of the cache, as header:NAME or cookie:NAME.
	NoStore []string `json:"noStore,omitempty"`
	// UseStale are nginx's words for when an answer past its life is better than none: error, timeout, invalid_header,
	// updating, http_403, http_404, http_429, http_500, http_502, http_503, http_504.
	UseStale []string `json:"useStale,omitempty"`
	// Lock lets one request of many for the same go to the upstream, and the others wait for its answer.
	Lock bool `json:"lock,omitempty"`
	// StatusHeader sends X-Cache: HIT, MISS, EXPIRED, STALE, UPDATING or BYPASS.
	StatusHeader bool `json:"statusHeader,omitempty"`
}

// CacheValid is a time to live for answers with certain statuses.
type CacheValid struct {
	Codes []int  `json:"codes,omitempty"` // 200 to 599; every status when empty
	Time  string `json:"time"`            // "1s" to "8760h"
}

var staleConditions = []string{"error", "timeout", "invalid_header", "updating", "http_403", "http_404", "http_429",
	"http_500", "http_502", "http_503", "http_504"}

// checkCache adds the faults of the location's cache.
func (l *Location) checkCache(faults *Faults, at string) {
	c := l.Cache
	if c == nil {
		return
	}
	at += ".cache"
	switch {
	case l.Proxy == nil:
		faults.Addf(at, "goes with proxy only")
	case l.Proxy.Buffering != nil && l.Proxy.Buffering.Off:
		faults.Addf(at, "does not go with buffering off: nginx keeps only what it buffers")
	case l.Proxy.Websocket:
		faults.Addf(at, "does not go with websocket: give it a location of its own")
	}
	checkSize(faults, at+".size", c.Size, 64<<10, 1<<30)
	checkSize(faults, at+".maxSize", c.MaxSize, 1<<20, 1<<50)
	checkDuration(faults, at+".inactive", c.Inactive, time.Second, year)
	atMost(faults, at+".valid", len(c.Valid), maxItems)
	seen := once{}
	for i, v := range c.Valid {
		path := item(at+".valid", i)
		faults.add(path+".time", DurationProblem(v.Time, time.Second, year))
		for j, code := range v.Codes {
			if code < 200 || code > 599 {
				faults.Addf(item(path+".codes", j), "%d is not a status: use 200 to 599", code)
			}
			seen.check(faults, item(path+".codes", j), fmt.Sprint(code))
		}
		if len(v.Codes) == 0 {
			seen.check(faults, path, "any")
		}
	}
	checkParts(faults, at+".key", c.Key, "scheme", "method", "host", "uri", "path", "args")
	if len(c.Key) > 0 && !slices.Contains(c.Key, "uri") && !slices.Contains(c.Key, "path") {
		faults.Addf(at+".key", "has neither uri nor path: every path would get the same answer")
	}
	checkParts(faults, at+".bypass", c.Bypass)
	checkParts(faults, at+".noStore", c.NoStore)
	for i, s := range c.UseStale {
		oneOf(faults, item(at+".useStale", i), s, staleConditions...)
	}
}

// checkParts checks parts of a request by name: words, header:NAME and cookie:NAME.
func checkParts(faults *Faults, at string, parts []string, words ...string) {
	atMost(faults, at, len(parts), maxItems)
	seen := once{}
	for i, part := range parts {
		path := item(at, i)
		seen.check(faults, path, part)
		if slices.Contains(words, part) {
			continue
		}
		switch kind, name, _ := strings.Cut(part, ":"); kind {
		case "header":
			faults.add(path, VariableHeaderProblem(name))
		case "cookie":
			faults.add(path, CookieNameProblem(name))
		default:
			faults.Addf(path, "%s: use %s", shown(part), strings.Join(append(slices.Clone(words), "header:NAME or cookie:NAME"), ", "))
		}
	}
}
