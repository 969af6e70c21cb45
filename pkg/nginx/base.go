package nginx

import (
	_ "embed"
	"slices"
	"strings"
)

// mimeTypes says which extension is which content type. It is part of the
// bundle, because a distribution's own file may be missing or differ.
//
//go:embed mime.types
var mimeTypes string

// The placeholders stand for what differs per node; staging fills them in, in
// every file that Fairlead rendered. Nothing that a person wrote can look like
// one: they hold a tab, which quoting never leaves as it is, and in what is not
// quoted there is no place for one. The first three are whole lines or nothing.
const (
	phModules = "{{\tmodules}}\n"
	phUser    = "{{\tuser}}\n"
	phTemp    = "{{\ttemp}}\n"
	phVersion = "{{\tversion}}" // directory of this version
	phPid     = "{{\tpid}}"     // the pid file
	phRun     = "{{\trun}}"
	phLogs    = "{{\tlogs}}"
	phWorkers = "{{\tworkers}}"
	phDigest  = "{{\tdigest}}"
	phShort   = "{{\tshort}}" // beginning of the digest
	phProbe   = "{{\tprobe}}" // User-Agent of the verdict's probes
	phLocal   = "{{\tlocal}}" // hash of what was filled in

	phHTTP2  = "{{\thttp2}}"      // parameter of listen, where nginx has it there
	phHTTP2D = "{{\thttp2 on}}\n" // a whole line or nothing, where nginx has it as a directive
	phRealIP = "{{\trealip}}"     // begins lines that want the module
	phReject = "{{\treject}}\n"   // a whole line
	phCache  = "{{\tcache}}"      // directory of caches
	phCA     = "{{\tca}}"         // the host's list of certificate authorities
)

// base renders nginx.conf: what makes nginx manageable, and one include for
// each file. Includes name files one by one, so that one that is missing is an
// error and no stray file is ever read.
func (m *model) base(files []File) string {
	w := new(writer)
	w.line("# Written by Fairlead. What is changed here by hand is lost.")
	w.b.WriteString(phModules + phUser)
	w.line("worker_processes %s;", phWorkers)
	w.line(`pid "%s";`, phPid)
	w.line(`lock_file "%s/nginx.lock";`, phRun)
	w.line("worker_shutdown_timeout %s;", m.shutdownTimeout())
	w.line("# The verdict on a reload is read from here.")
	w.line("error_log syslog:server=unix:%s/control.sock,nohostname,tag=fairlead notice;", phRun)
	w.line("# Not alert: each line that finds no listener on a syslog socket would be one.")
	w.line(`error_log "%s/nginx.log" emerg;`, phLogs)
	w.open("events")
	w.line("worker_connections 1024;")
	w.close()
	w.line("")
	m.http(w, files)
	if some := includes(files, "stream.d/"); len(some) > 0 {
		w.line("")
		w.open("stream")
		w.line("map_hash_bucket_size 512;")
		w.line("variables_hash_max_size 4096;")
		w.line("variables_hash_bucket_size 256;") // a stream's name is part of a variable's
		w.line("error_log syslog:server=unix:%s/syslog.sock,nohostname,tag=nginx error;", phRun)
		w.line(`error_log "%s/error.log" error;`, phLogs)
		for _, path := range some {
			w.line(`include "%s/%s";`, phVersion, path)
		}
		w.close()
	}
	return w.String()
}

func (m *model) shutdownTimeout() string {
	if m.policy != nil && m.policy.ShutdownTimeout != "" {
		return m.policy.ShutdownTimeout
	}
	return "30s"
}

func (m *model) http(w *writer, files []File) {
	w.open("http")
	w.b.WriteString(phTemp)
	w.line("map_hash_bucket_size 512;") // before the first map
	ownLog(w)
	w.line("access_log syslog:server=unix:%s/syslog.sock,nohostname,tag=nginx combined if=$fairlead_logged;", phRun)
	m.countAnswers(w)
	w.line("error_log syslog:server=unix:%s/syslog.sock,nohostname,tag=nginx error;", phRun)
	w.line(`error_log "%s/error.log" error;`, phLogs)
	w.line(`include "%s/mime.types";`, phVersion)
	w.line("default_type application/octet-stream;")
	w.line("types_hash_max_size 2048;")
	w.line("server_names_hash_max_size %d;", powerOfTwo(1024, 4*len(m.names)))
	w.line("server_names_hash_bucket_size %d;", powerOfTwo(128, longest(m.names)+32))
	w.line("variables_hash_max_size 4096;")
	w.line("variables_hash_bucket_size 256;")
	w.line("proxy_headers_hash_max_size 1024;")
	w.line("proxy_headers_hash_bucket_size 256;")
	w.line("server_tokens off;")
	w.line("sendfile on;")
	ownServer(w)
	for _, path := range includes(files, "http.d/") {
		w.line(`include "%s/%s";`, phVersion, path)
	}
	w.close()
}

// ownLog keeps the agent's probes out of access logs.
func ownLog(w *writer) {
	w.line("# The agent's own probes are nobody's traffic.")
	w.line(`map $http_user_agent $fairlead_logged { default 1; "%s" 0; }`, phProbe)
}

// ownServer is what the agent asks, and a variable that rendered files need.
func ownServer(w *writer) {
	w.line("# nginx has no escape for a dollar sign.")
	w.line(`geo $%s { default "$"; }`, dollar)
	w.line("# What a request for another protocol, and a preflight, are known by.")
	w.line(`map $http_upgrade $fairlead_connection { default upgrade; "" ""; }`)
	w.line(`map "$request_method $http_access_control_request_method" $fairlead_preflight { default ""; "~^OPTIONS ." 1; }`)
	w.line("")
	w.open("server")
	w.line(`listen "unix:%s/status.sock";`, phRun)
	w.line("server_name _;")
	w.line("access_log off;")
	w.line("location = /status { stub_status; }")
	w.line(`location = /digest { types { } default_type text/plain; return 200 "%s"; }`, phDigest)
	w.line(`location = /generation { types { } default_type text/plain; return 200 "%s %s"; }`, phDigest, phLocal)
	w.line("location / { return 404; }")
	w.close()
	w.line("")
}

// countsAnswers says whether a policy asks for a bake.
func (m *model) countsAnswers() bool { return m.policy != nil && m.policy.Bake != nil }

// countAnswers has nginx tell of each answer, where a policy asks for a bake.
func (m *model) countAnswers(w *writer) {
	if m.countsAnswers() {
		w.line("log_format fairlead_answers '%s $status $server_name';", phShort)
		m.tellAnswers(w)
	}
}

// tellAnswers is needed again wherever an access_log stands, since that hides
// the inherited ones.
func (m *model) tellAnswers(w *writer) {
	if m.countsAnswers() {
		w.line("access_log syslog:server=unix:%s/answers.sock,nohostname,tag=fairlead fairlead_answers if=$fairlead_logged;", phRun)
	}
}

// includes is the paths below a directory, sorted.
func includes(files []File, dir string) []string {
	var paths []string
	for _, f := range files {
		if strings.HasPrefix(f.Path, dir) {
			paths = append(paths, f.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

// powerOfTwo is the least power of two, from least upwards, that holds n.
func powerOfTwo(least, n int) int {
	for least < n {
		least *= 2
	}
	return least
}

func longest(names []string) int {
	n := 0
	for _, name := range names {
		n = max(n, len(name))
	}
	return n
}

// Types says which content type Fairlead's nginx gives to which extension of a
// file's name, as mime.types has it. It holds all that nginx's own table does.
func Types() map[string]string {
	types := map[string]string{}
	for line := range strings.Lines(mimeTypes) {
		fields := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), ";"))
		for _, extension := range fields[min(1, len(fields)):] {
			if strings.Contains(fields[0], "/") {
				types[extension] = fields[0]
			}
		}
	}
	return types
}
