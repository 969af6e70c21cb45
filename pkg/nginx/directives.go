package nginx

import (
	_ "embed"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// allowedText lists every directive that a ConfigFile may use as it likes, but
// for the parameters that are checked below. What stands in no list of this
// file is refused: a directive that a later nginx brings is looked at by a
// person before anybody uses it.
//
//go:embed allowed.txt
var allowedText string

var allowed = func() map[string]bool {
	set := map[string]bool{}
	for _, name := range strings.Fields(allowedText) {
		set[name] = true
	}
	return set
}()

// refused says why a directive is not for a ConfigFile, and what is instead.
var refused = func() map[string]string {
	const (
		whole = "is a setting of the whole nginx, which Fairlead writes"
		temp  = "makes nginx create directories as root and give them to its workers; Fairlead sets the paths of temporary files"
		store = "lets requests write files on the node"
		mail  = "is for mail, which Fairlead does not manage"
	)
	all := map[string]string{
		"include":                  "reads another file as root, also one that changes later: put its text here, or use a resource of its own",
		"load_module":              "runs a library as root: name the module in spec.modules of the node's NodePolicy",
		"ssl_engine":               "loads a library as root",
		"client_body_in_file_only": "leaves a file of every request on the node",
	}
	for reason, names := range map[string]string{
		whole: `user pid daemon master_process env working_directory lock_file events http stream mail use multi_accept accept_mutex
			accept_mutex_delay debug_connection debug_points pcre_jit thread_pool timer_resolution google_perftools_profiles quic_bpf
			ssl_object_cache_inheritable worker_aio_requests worker_connections worker_cpu_affinity worker_priority worker_processes
			worker_rlimit_core worker_rlimit_nofile worker_shutdown_timeout`,
		temp: "client_body_temp_path proxy_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path",
		store: `proxy_store proxy_store_access fastcgi_store fastcgi_store_access uwsgi_store uwsgi_store_access scgi_store
			scgi_store_access dav_methods dav_access create_full_put_path min_delete_depth`,
		mail: `auth_http auth_http_header auth_http_pass_client_cert auth_http_timeout imap_auth imap_capabilities imap_client_buffer
			max_errors pop3_auth pop3_capabilities protocol proxy_buffer proxy_pass_error_message proxy_smtp_auth smtp_auth
			smtp_capabilities smtp_client_buffer smtp_greeting_delay starttls timeout xclient`,
	} {
		for _, name := range strings.Fields(names) {
			all[name] = reason
		}
	}
	return all
}()

// module is a dynamic module and the directives that it brings.
type module struct {
	name     string // as in spec.modules of a NodePolicy
	prefixes []string
	match    crossplane.MatchFunc // nil where context and number of parameters are nginx's to judge
}

// modules are those whose directives are known. They run code of their own, as
// root while nginx reads its configuration, so a NodePolicy has to name them.
var modules = []module{
	{"ngx_http_perl_module", []string{"perl"}, crossplane.MatchOssLatest},
	{"ngx_http_lua_module", []string{"lua_", "access_by_lua", "balancer_by_lua", "body_filter_by_lua", "content_by_lua", "exit_worker_by_lua",
		"header_filter_by_lua", "init_by_lua", "init_worker_by_lua", "log_by_lua", "rewrite_by_lua", "server_rewrite_by_lua", "set_by_lua",
		"ssl_certificate_by_lua", "ssl_client_hello_by_lua", "ssl_session_fetch_by_lua", "ssl_session_store_by_lua", "rewrite_by_lua_no_postpone",
		"access_by_lua_no_postpone"}, nil},
	{"ngx_http_js_module", []string{"js_"}, crossplane.MatchNjsLatest},
	{"ngx_stream_js_module", []string{"js_"}, crossplane.MatchNjsLatest},
	{"ngx_http_xslt_filter_module", []string{"xslt_", "xml_entities"}, crossplane.MatchOssLatest},
	{"ngx_http_image_filter_module", []string{"image_filter"}, crossplane.MatchOssLatest},
	{"ngx_http_geoip_module", []string{"geoip_"}, crossplane.MatchOssLatest},
	{"ngx_stream_geoip_module", []string{"geoip_"}, crossplane.MatchOssLatest},
	{"ngx_http_geoip2_module", []string{"geoip2"}, crossplane.MatchGeoip2Latest},
	{"ngx_stream_geoip2_module", []string{"geoip2"}, crossplane.MatchGeoip2Latest},
	{"ngx_http_headers_more_filter_module", []string{"more_"}, crossplane.MatchHeadersMoreLatest},
	{"ngx_http_modsecurity_module", []string{"modsecurity"}, nil},
	{"ngx_http_brotli_filter_module", []string{"brotli"}, nil},
	{"ngx_http_brotli_static_module", []string{"brotli_static"}, nil},
	{"ngx_otel_module", []string{"otel_"}, crossplane.MatchOtelLatest},
	{"ngx_http_echo_module", []string{"echo"}, nil},
	{"ngx_http_subs_filter_module", []string{"subs_filter"}, nil},
	{"ngx_http_fancyindex_module", []string{"fancyindex"}, nil},
	{"ngx_http_auth_pam_module", []string{"auth_pam"}, nil},
	{"ngx_http_dav_ext_module", []string{"dav_ext"}, nil},
	{"ngx_http_upload_module", []string{"upload_"}, nil},
	{"ngx_http_cache_purge_module", []string{"proxy_cache_purge", "fastcgi_cache_purge", "uwsgi_cache_purge", "scgi_cache_purge"}, nil},
}

// modulesOf are the names of the modules that bring a directive.
func modulesOf(directive string) []string {
	var names []string
	for _, m := range modules {
		for _, prefix := range m.prefixes {
			if strings.HasPrefix(directive, prefix) {
				names = append(names, m.name)
				break
			}
		}
	}
	return names
}

// namesFile says which parameter of a directive, from 1, is the path of a file
// that nginx reads or writes, most of them as root; 0 is none.
func namesFile(directive string) int {
	switch directive {
	case "access_log", "error_log", "auth_basic_user_file", "quic_host_key", "xslt_stylesheet", "geoip_city", "geoip_country", "geoip_org", "geoip2",
		"proxy_cache_path", "fastcgi_cache_path", "uwsgi_cache_path", "scgi_cache_path", "modsecurity_rules_file", "perl_modules", "perl_require",
		"js_path", "js_include", "lua_ssl_trusted_certificate", "lua_ssl_certificate", "lua_ssl_certificate_key", "fancyindex_css_href":
		return 1
	}
	if strings.HasSuffix(directive, "_by_lua_file") {
		if directive == "set_by_lua_file" {
			return 2
		}
		return 1
	}
	for _, side := range []string{"", "proxy_", "grpc_", "uwsgi_"} {
		rest, ok := strings.CutPrefix(directive, side+"ssl_")
		if !ok {
			continue
		}
		switch rest {
		case "certificate", "certificate_key", "client_certificate", "trusted_certificate", "crl", "dhparam", "password_file", "session_ticket_key",
			"stapling_file", "ech_file":
			return 1
		}
	}
	return 0
}

// passes says whether a directive's first parameter is where requests go to.
func passes(directive string) bool {
	switch directive {
	case "proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "pass", "tunnel_pass":
		return true
	}
	return false
}
