package fleet_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

// wrong applies each spoiler to a fresh good spec and wants one fault at its path.
func wrong[S fleet.Spec](t *testing.T, good func() S, cases map[string][]func(S)) {
	t.Helper()
	if faults := good().Validate(); faults != nil {
		t.Fatalf("the good one: %v", faults)
	}
	for path, spoilers := range cases {
		for i, spoil := range spoilers {
			s := good()
			spoil(s)
			if faults := s.Validate(); len(faults) != 1 || faults[0].Path != path {
				t.Errorf("%s, case %d gives %q, want one fault there", path, i, faults.Error())
			}
		}
	}
}

func goodPolicy() *fleet.Policy {
	return &fleet.Policy{
		RateLimit: &fleet.RateLimit{Rate: "10r/s", Burst: 20, Delay: 5, Key: "header:X-Api-Key", Status: 503, Zone: "1m"},
		ConnLimit: &fleet.ConnLimit{Max: 10, Key: "cookie:visitor_id"},
		Addresses: []fleet.AddressRule{{Allow: "192.0.2.0/24"}, {Allow: "2001:db8::1"}, {Deny: "all"}},
		WAF:       &fleet.WAF{Mode: "detect", CoreRuleSet: true, Rules: "# a comment\nSecRule ARGS \"@contains x\" \\\n  \"id:1,phase:2,deny\"\nSecRuleRemoveById 920100\n"},
	}
}

func TestEachWrongValueOfAPolicyIsFound(t *testing.T) {
	type p = *fleet.Policy
	wrong(t, goodPolicy, map[string][]func(p){
		"spec":                   {func(p p) { *p = fleet.Policy{} }},
		"spec.rateLimit.rate":    {func(p p) { p.RateLimit.Rate = "" }, func(p p) { p.RateLimit.Rate = "10" }, func(p p) { p.RateLimit.Rate = "0r/s" }, func(p p) { p.RateLimit.Rate = "1r/s; }" }},
		"spec.rateLimit.burst":   {func(p p) { p.RateLimit.Burst = 1 << 30 }},
		"spec.rateLimit.delay":   {func(p p) { p.RateLimit.Delay = 21 }, func(p p) { p.RateLimit.Delay = -1 }},
		"spec.rateLimit.noDelay": {func(p p) { p.RateLimit.NoDelay = true }},
		"spec.rateLimit.key":     {func(p p) { p.RateLimit.Key = "$uri" }, func(p p) { p.RateLimit.Key = "header:" }, func(p p) { p.RateLimit.Key = "header:a b" }, func(p p) { p.RateLimit.Key = "header:X_Key" }, func(p p) { p.RateLimit.Key = "cookie:a-b" }, func(p p) { p.RateLimit.Key = "client:1" }},
		"spec.rateLimit.status":  {func(p p) { p.RateLimit.Status = 200 }},
		"spec.rateLimit.zone":    {func(p p) { p.RateLimit.Zone = "1k" }, func(p p) { p.RateLimit.Zone = "10m rate=1r/s" }},
		"spec.connLimit.max":     {func(p p) { p.ConnLimit.Max = 0 }},
		"spec.addresses[1]":      {func(p p) { p.Addresses[1].Deny = "all" }, func(p p) { p.Addresses[1].Allow = "" }, func(p p) { p.Addresses[1].Allow = "192.0.2.1/24" }, func(p p) { p.Addresses[1].Allow = "example.org" }, func(p p) { p.Addresses[1].Allow = "unix:" }, func(p p) { p.Addresses[1].Allow = "fe80::1%lo" }},
		"spec.waf.mode":          {func(p p) { p.WAF.Mode = "off" }},
		"spec.waf":               {func(p p) { p.WAF = &fleet.WAF{} }},
	})
}

// ModSecurity would read files, write them and run programs as root where its
// rules say so.
func TestRulesOfAWAFLookAtRequestsAndNothingElse(t *testing.T) {
	for _, rule := range []string{
		"SecAuditLog /etc/passwd", "Include /etc/shadow", "SecRemoteRules k https://example.org", "SecDebugLog /x", "SecUnicodeMapFile /x", "SecRuleScript /x.lua",
		"SecGeoLookupDb /x", "SecTmpDir /", "SecRuleEngine Off",
		`SecRule FILES_TMPNAMES "@inspectFile /bin/sh" "id:1"`, `SecRule ARGS "@pmFromFile /etc/passwd" "id:1"`, `SecRule ARGS "@pmf /etc/passwd" "id:1"`,
		`SecAction "id:1,exec:/bin/sh"`, "SecRule ARGS \"@ipMatchFromFile \\\n/etc/passwd\" \"id:1\"", "SecAction \"id:1,ex\\\nec:/bin/sh\"",
		"# a comment \\\nInclude /etc/shadow", "# a comment \\\nSecMarker A", "#SecRule a \\", "SecMarker A \\ \nSecMarker B",
		"SecMarker A Include /etc/shadow", "SecRequestBodyLimit 100 SecAuditLog /x", `SecAction "id:1"Include /etc/shadow`, `SecRule ARGS "@rx a" "id:1" SecMarker x`,
		"SecRule ARGS \"@rx a\n\" \"id:1\"\nInclude /etc/shadow\"", `SecRule ARGS "@rx a\\" "Include /etc/shadow "`, `SecRule ARGS "@rx \" "id:1"`, "SecMarker", "SecRule ARGS",
		"# SecAuditLog /x", `SecRule ARGS "!@ipMatchF x" "id:1"`, `SecRule XML "@validateSchema x.xsd" "id:1"`, `SecRule XML:/*/x "@rx a" "id:1,xmlns:a=http://x"`,
		`SecRuleUpdateActionById 1 "exec:/bin/sh"`, `SecRule REMOTE_ADDR "@rbl example.org" "id:1"`, `SecRule REMOTE_ADDR "@geoLookup" "id:1"`, "SecUploadDir /x", "secremoterules k https://x",
		"SecResponseBodyMimeType text/html\tInclude inc", "SecRuleRemoveById 1 Include inc", "SecRuleRemoveById 1 SecMarker",
		`SecRuleUpdateTargetById 941100-944999 "!ARGS:text"`,
		"SecAction \"id:1\" \\", "\ufeffSecAction \"id:1\"", "SecAction \x00",
	} {
		p := &fleet.Policy{WAF: &fleet.WAF{Rules: "SecMarker BEGIN\n" + rule + "\n"}}
		if faults := p.Validate(); len(faults) != 1 || faults[0].Path != "spec.waf.rules" {
			t.Errorf("%q: %v", rule, faults)
		}
	}
}

// What people write is let through.
func TestRulesAsPeopleWriteThemAreTaken(t *testing.T) {
	for _, rules := range []string{
		"# Nothing for scanners.\n\nSecRule REQUEST_HEADERS:User-Agent \"@pm nikto sqlmap\" \\\n    \"id:1000,phase:1,deny,status:403,\\\n    msg:'a scanner, said \\\"so\\\"'\"\n",
		"SecRule ARGS|!ARGS:comment|REQUEST_COOKIES:'/^a/' \"@rx (?i)<script[^>]*>\" \"id:1,phase:2,t:none,t:urlDecodeUni,deny,chain\"\r\n  SecRule REQUEST_METHOD \"!@within GET HEAD\" t:none\r\n",
		"SecRuleRemoveById 920350 942100-942190\nSecRuleUpdateTargetById 942100 \"!ARGS:q\"\nsecrequestbodylimit 131072\nSecResponseBodyMimeType text/html text/plain",
		`SecAction "id:900000,phase:1,pass,nolog,setvar:tx.paranoia_level=2"`, `SecRule ARGS "@rx \bsecond|secret|security\b" "id:1,msg:'files that include others'"`,
		`SecRule REQUEST_URI "^/old" "id:2,phase:1,pass,ctl:ruleEngine=Off"`,
	} {
		p := &fleet.Policy{WAF: &fleet.WAF{Rules: rules}}
		if faults := p.Validate(); len(faults) != 0 {
			t.Errorf("%q: %v", rules, faults)
		}
	}
}

func goodSplit() *fleet.Split {
	five := 5
	return &fleet.Split{
		Branches: []fleet.Branch{{Upstream: "new", Percent: &five}, {Upstream: "old"}},
		When:     []fleet.SplitRule{{Header: "X-Canary", Value: "always", Upstream: "new"}, {Cookie: "canary", Value: "v1.2_3", Upstream: "lab"}},
		Sticky:   &fleet.Sticky{By: "cookie", Cookie: "branch", For: "24h"},
	}
}

func TestEachWrongValueOfASplitIsFound(t *testing.T) {
	type s = *fleet.Split
	share := func(n int) *int { return &n }
	wrong(t, goodSplit, map[string][]func(s){
		"spec.branches":             {func(s s) { s.Branches = nil }, func(s s) { s.Branches[1].Percent = share(90) }, func(s s) { s.Branches[0].Percent, s.Branches[1].Percent = share(60), share(60) }, func(s s) { s.Branches = s.Branches[:1] }},
		"spec.branches[0].percent":  {func(s s) { s.Branches[0].Percent = share(-1) }, func(s s) { s.Branches[0].Percent = share(101) }},
		"spec.branches[1].percent":  {func(s s) { s.Branches[0].Percent = nil }},
		"spec.branches[1]":          {func(s s) { s.Branches[1].Upstream = "new" }},
		"spec.branches[0].upstream": {func(s s) { s.Branches[0].Upstream = "a;b" }},
		"spec.when[0]":              {func(s s) { s.When[0].Cookie = "a" }, func(s s) { s.When[0].Header = "" }},
		"spec.when[1]":              {func(s s) { s.When[1] = s.When[0] }},
		"spec.when[0].header":       {func(s s) { s.When[0].Header = "X Canary" }},
		"spec.when[1].cookie":       {func(s s) { s.When[1].Cookie = "a-b" }},
		"spec.when[0].value":        {func(s s) { s.When[0].Value = "" }, func(s s) { s.When[0].Value = "$uri" }, func(s s) { s.When[0].Value = `a"` }, func(s s) { s.When[0].Value = strings.Repeat("a", 201) }},
		"spec.when[0].upstream":     {func(s s) { s.When[0].Upstream = "" }},
		"spec.sticky.by":            {func(s s) { s.Sticky.By = "header" }},
		"spec.sticky":               {func(s s) { s.Sticky.By = "client" }},
		"spec.sticky.cookie":        {func(s s) { s.Sticky.Cookie = "a;b" }},
		"spec.sticky.for":           {func(s s) { s.Sticky.For = "1s" }},
	})
}

func TestASplitNeedsTheUpstreamsOfBranchesAndRules(t *testing.T) {
	var ids []string
	for _, n := range goodSplit().Needs() {
		ids = append(ids, n.ID())
	}
	if got := strings.Join(ids, " "); got != "Upstream/new Upstream/old Upstream/new Upstream/lab" {
		t.Error(got)
	}
}
