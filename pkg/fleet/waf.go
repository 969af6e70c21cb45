package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxRules is the most that a WAF's own rules hold, in bytes.
const maxRules = 256 << 10

// wafDirectives are those of ModSecurity that look at requests and nothing
// else. Missing are the ones that write files, read them, fetch from other
// hosts or run programs.
var wafDirectives = []string{
	"SecRule", "SecAction", "SecMarker", "SecDefaultAction",
	"SecRuleRemoveById", "SecRuleRemoveByTag", "SecRuleRemoveByMsg",
	"SecRuleUpdateTargetById", "SecRuleUpdateTargetByTag", "SecRuleUpdateTargetByMsg", "SecRuleUpdateActionById",
	"SecRequestBodyAccess", "SecRequestBodyLimit", "SecRequestBodyNoFilesLimit", "SecRequestBodyLimitAction", "SecRequestBodyJsonDepthLimit",
	"SecResponseBodyAccess", "SecResponseBodyLimit", "SecResponseBodyLimitAction", "SecResponseBodyMimeType",
	"SecArgumentSeparator", "SecArgumentsLimit", "SecPcreMatchLimit", "SecPcreMatchLimitRecursion", "SecCollectionTimeout",
}

// wafReaches are the operators and actions that leave the request: read a
// file, ask a host, run a program or a script.
var wafReaches = regexp.MustCompile(`(?i)@(inspectfile|fuzzyhash|\w*fromfile|pmf|rbl|geolookup|gsblookup|ipmatchf)\b|\bexec\s*:|\bxmlns\s*:|@validate(dtd|schema)\b`)

func (w *WAF) check(faults *Faults, at string) {
	oneOf(faults, at+".mode", w.Mode, "", "detect", "block")
	if strings.TrimSpace(w.Rules) == "" && !w.CoreRuleSet {
		faults.Addf(at, "has no rules: set coreRuleSet, rules or both")
	}
	faults.add(at+".rules", rulesProblem(w.Rules))
}

// rulesProblem looks at the rules line by line, as ModSecurity puts them
// together: a line that ends in a backslash goes on in the next.
func rulesProblem(rules string) string {
	if len(rules) > maxRules {
		return fmt.Sprintf("are %d bytes: use at most %d", len(rules), maxRules)
	}
	if rules == "" {
		return ""
	}
	if problem := TextProblem([]byte(rules)); problem != "" {
		return problem
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(rules, "\r\n"), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		start, rule := i+1, lines[i]
		for strings.HasSuffix(strings.TrimRight(rule, " \t"), `\`) && i+1 < len(lines) {
			i++
			rule = strings.TrimSuffix(strings.TrimRight(rule, " \t"), `\`) + lines[i]
		}
		if strings.HasSuffix(strings.TrimRight(rule, " \t"), `\`) {
			return fmt.Sprintf("line %d: ends in a backslash, and nothing follows", i+1)
		}
		words := strings.Fields(rule)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		same := func(d string) bool { return strings.EqualFold(d, words[0]) }
		if !slices.ContainsFunc(wafDirectives, same) {
			return fmt.Sprintf("line %d: %q may not stand here: use %s", start, clip(words[0]), strings.Join(wafDirectives[:3], ", ")+" and their like")
		}
		if reach := wafReaches.FindString(rule); reach != "" {
			return fmt.Sprintf("line %d: %q reads files, asks other hosts or runs programs, which rules may not", start, reach)
		}
	}
	return ""
}
