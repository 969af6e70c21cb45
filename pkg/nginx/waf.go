package nginx

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"fairlead/pkg/fleet"
)

// The rules of Debian's package modsecurity-crs, with what people of the host
// put before and after them, in the order of the package's own list. That list
// has IncludeOptional, which ModSecurity 3 does not know.
const coreRuleSet = `Include /etc/modsecurity/crs/crs-setup.conf
Include /etc/modsecurity/crs/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf
Include ` + coreRuleDir + `/*.conf
Include /etc/modsecurity/crs/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf
`

const coreRuleDir = "/usr/share/modsecurity-crs/rules"

// bodyRules are what the core rule set expects of its engine and does not
// bring: that bodies of these types are taken apart, and one that cannot be is
// refused. They are those of ModSecurity's recommended configuration.
const bodyRules = `SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/(?:[a-z0-9.-]+\+)?json" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,msg:'The request body cannot be read'"
`

// wafBase is what ModSecurity reads before a policy's own rules. The engine's
// mode stands behind the rule set; own rules cannot have it.
func wafBase(w *fleet.WAF) string {
	mode := "On"
	if w.Mode == "detect" {
		mode = "DetectionOnly"
	}
	text := "SecRequestBodyAccess On\nSecAuditEngine Off\n"
	if w.CoreRuleSet {
		text += bodyRules + coreRuleSet
	}
	return text + "SecRuleEngine " + mode + "\n"
}

// waf puts a policy's firewall into force in a location. ModSecurity tells of
// each rule that matches at the level info; only what it refuses is an error.
func (w *writer) waf(name string, waf *fleet.WAF) {
	w.line("modsecurity on;")
	w.line(`modsecurity_rules_file "%s/%s%s.conf";`, phVersion, wafDir, name)
	if waf.Rules != "" {
		w.line(`modsecurity_rules_file "%s/%s%s.rules";`, phVersion, wafDir, name)
	}
	w.line("error_log syslog:server=unix:%s/syslog.sock,nohostname,tag=nginx info;", phRun)
	w.line(`error_log "%s/error.log" info;`, phLogs)
}

// Measured on nginx 1.22.1 with ModSecurity 3.0.9: the core rule set takes
// 70 ms and 17 MB for each location that names it, on an idle machine.
const (
	rulesTime       = time.Second // what nginx -t may take for a file of rules
	bytesPerRuleSet = 17 << 20
)

// rulesFiles counts the files of rules that nginx reads, each as often as it does.
func rulesFiles(b Bundle) int { return b.count("modsecurity_rules_file ") }

// ruleSets counts the places that have the core rule set.
func ruleSets(b Bundle) int {
	n := 0
	for _, f := range b.Files {
		if strings.HasPrefix(f.Path, wafDir) && bytes.Contains(f.Content, []byte(coreRuleDir)) {
			n += b.count("/" + f.Path + `"`)
		}
	}
	return n
}

func alsoRuleSets(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d locations with the core rule set", n)
}

// count is how often a text stands in the bundle's part of http.
func (b Bundle) count(text string) int {
	n := 0
	for _, f := range b.Files {
		if strings.HasPrefix(f.Path, "http.d/") {
			n += bytes.Count(f.Content, []byte(text))
		}
	}
	return n
}

var (
	rulesError  = regexp.MustCompile(`"modsecurity_rules_file" directive (?s:(.*?))\s+in ([^\s:]+):(\d+)(?:\n|$)`)
	rulesPath   = regexp.MustCompile(`modsecurity_rules_file "[^"]*/(waf\.d/[^/"]+)"`)
	rulesObject = regexp.MustCompile(`File: (?:0x[0-9a-f]+ at line|[^ ]*/?waf\.d/[^ ]+ Line): `)
)

// rulesFault puts what ModSecurity has against rules, in scrubbed lines of
// nginx, as nginx would: with the file and line of the rule behind it. nginx
// points at the directive that names the rules, and ModSecurity 3.0 writes the
// address of an object where the name of their file belongs.
func (v version) rulesFault(said string) string {
	m := rulesError.FindStringSubmatch(said)
	if m == nil || !filepath.IsLocal(m[2]) {
		return said
	}
	number, _ := strconv.Atoi(m[3])
	content, err := v.content(m[2])
	lines := strings.Split(string(content), "\n")
	if err != nil || number < 1 || number > len(lines) {
		return said
	}
	named := rulesPath.FindStringSubmatch(lines[number-1])
	if named == nil {
		return said
	}
	what := strings.TrimPrefix(m[1], "Rules error. ")
	at := rulesObject.FindString(what)
	if at == "" { // of the rules as a whole, or of the package's
		return fmt.Sprintf("[emerg] %s: ModSecurity says: %s", named[1], strings.TrimSpace(what))
	}
	line, rest, _ := strings.Cut(what[strings.Index(what, at)+len(at):], ".")
	before := what[:strings.Index(what, at)]
	return fmt.Sprintf("[emerg] ModSecurity says: %s in %s:%s", strings.Trim(before+strings.TrimSpace(rest), ". "), named[1], strings.TrimSpace(line))
}
