package nginx

import (
	"fmt"
	"strings"

	"fairlead/pkg/fleet"
)

// jsonFields are those of format json when none are chosen.
var jsonFields = []string{"time_iso8601", "remote_addr", "remote_user", "host", "request_method", "request_uri", "server_protocol", "status",
	"body_bytes_sent", "request_time", "http_referer", "http_user_agent", "upstream_addr", "upstream_status", "upstream_response_time"}

// log says what is logged here. The path of a file is generated.
func (s *site) log(l *fleet.Log) {
	switch {
	case l == nil:
		return
	case l.Target == "off" && s.m.countsAnswers():
		s.m.tellAnswers(&s.w) // which takes the place of the inherited ones; off would end this one too
		return
	case l.Target == "off":
		s.w.line("access_log off;")
		return
	}
	to := "syslog:server=unix:" + phRun + "/syslog.sock,nohostname,tag=nginx"
	if l.Target == "file" {
		to = `"` + phLogs + "/" + s.name + `.access.log"`
	}
	parameters, when := s.logFormat(l), "fairlead_logged"
	if l.Percent > 0 && l.Percent < 100 {
		sample := s.variable("sample", fmt.Sprint(l.Percent))
		if s.once(sample) {
			s.http.line(`split_clients $request_id $%s_drawn { %d%% 1; * ""; }`, sample, l.Percent)
			s.http.line(`map $fairlead_logged$%[1]s_drawn $%[1]s { default 0; 11 1; }`, sample)
		}
		when = sample
	}
	s.w.line("access_log %s %s if=$%s;", to, parameters, when)
	s.m.tellAnswers(&s.w)
}

// logFormat is the name of a format.
func (s *site) logFormat(l *fleet.Log) string {
	fields, escape := l.Fields, "default"
	if l.Format == "json" {
		escape = "json"
		if len(fields) == 0 {
			fields = jsonFields
		}
	}
	if len(fields) == 0 {
		return "combined"
	}
	name := s.variable("log", append([]string{escape}, fields...)...)
	if s.once(name) {
		parts := make([]string, len(fields))
		for i, f := range fields {
			if parts[i] = `"$` + f + `"`; escape == "json" {
				parts[i] = `"` + f + `":"$` + f + `"`
			}
		}
		text := strings.Join(parts, " ")
		if escape == "json" {
			text = "{" + strings.Join(parts, ",") + "}"
		}
		s.http.line("log_format %s escape=%s %s;", name, escape, literal(text))
	}
	return name
}
