package nginx

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// cachePrefix begins the names of the directories of caches.
const cachePrefix = "cache_"

// cache keeps answers of the upstream. The zone bears the name of what a live
// one may not change, which is the location that it belongs to; its directory
// bears the zone's name.
func (s *site) cache(l *fleet.Location) {
	c, w := l.Cache, &s.w
	if c == nil {
		return
	}
	size := cmp.Or(c.Size, "10m")
	zone := cachePrefix + s.name + "_" + hash8(strings.Join([]string{s.id, l.Match, l.Path, size}, "\n"))
	if s.once(zone) {
		s.http.line(`proxy_cache_path "%s/%s" levels=1:2 keys_zone=%s:%s max_size=%s inactive=%s use_temp_path=off;`,
			phCache, zone, zone, size, cmp.Or(c.MaxSize, "1024m"), cmp.Or(c.Inactive, "10m"))
	}
	w.line("proxy_cache %s;", zone)
	w.line("proxy_cache_key %s;", cacheKey(c.Key))
	for _, v := range c.Valid {
		codes := "any"
		if len(v.Codes) > 0 {
			codes = strings.Trim(fmt.Sprint(v.Codes), "[]")
		}
		w.line("proxy_cache_valid %s %s;", codes, v.Time)
	}
	bypass, store := requestVariables(c.Bypass), requestVariables(c.NoStore)
	secret := func(part string) bool { return strings.EqualFold(part, "header:Authorization") }
	if !slices.ContainsFunc(c.Key, secret) { // or one visitor would see what is another's
		bypass, store = append(bypass, "$http_authorization"), append(store, "$http_authorization")
	}
	optional(w, "proxy_cache_bypass", strings.Join(bypass, " "))
	optional(w, "proxy_no_cache", strings.Join(store, " "))
	optional(w, "proxy_cache_use_stale", strings.Join(c.UseStale, " "))
	if slices.Contains(c.UseStale, "updating") {
		w.line("proxy_cache_background_update on;")
	}
	if c.Lock {
		w.line("proxy_cache_lock on;")
	}
}

var keyParts = map[string]string{
	"scheme": "$scheme", "method": "$request_method", "host": "$host", "uri": "$request_uri", "path": "$uri", "args": "$args",
}

// cacheKey joins the parts with what cannot stand in a host or scheme.
func cacheKey(parts []string) string {
	if len(parts) == 0 {
		parts = []string{"scheme", "host", "uri"}
	}
	variables := requestVariables(parts)
	return `"` + strings.Join(variables, "|") + `"`
}

// requestVariables are nginx's names for parts of a request.
func requestVariables(parts []string) []string {
	var all []string
	for _, part := range parts {
		all = append(all, cmp.Or(keyParts[part], requestVariable(part)))
	}
	return all
}
