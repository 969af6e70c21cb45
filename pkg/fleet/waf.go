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

// wafReaches is all that leaves the request: reads a file, writes one, asks a
// host, runs a program or a script, or turns the engine itself. ModSecurity
// knows each by its plain text, so no rule has it where the text has it
// nowhere, however ModSecurity takes the lines apart.
var wafReaches = regexp.MustCompile(`(?i)@(?:inspectfile|fuzzyhash|\w*fromfile|pmf|ipmatchf|rbl|geolookup|gsblookup|validatedtd|validateschema)` +
	`|\bexec\s*:|\bxmlns\s*:|include[ \t]+["']?[^\s"']*/` +
	`|\bsec(?:audit|debug|remote|rulescript|ruleengine|ruleinherit|ruleperf|tmp|data|upload|geolookup|gsb|unicode|httpbl|chroot|xml|conn|status|sensor|hash|guardian|cache|write|read|web|stream)\w*`)

// wafWords are how many words stand behind a directive, least and most; one
// where a directive is not listed.
var wafWords = map[string][2]int{
	"secrule": {2, 3}, "secruleremovebyid": {1, 100}, "secruleremovebytag": {1, 1}, "secruleremovebymsg": {1, 1},
	"secruleupdatetargetbyid": {2, 2}, "secruleupdatetargetbytag": {2, 2}, "secruleupdatetargetbymsg": {2, 2}, "secruleupdateactionbyid": {2, 2},
	"secresponsebodymimetype": {1, 100},
}

func (w *WAF) check(faults *Faults, at string) {
	oneOf(faults, at+".mode", w.Mode, "", "detect", "block")
	if strings.TrimSpace(w.Rules) == "" && !w.CoreRuleSet {
		faults.Addf(at, "has no rules: set coreRuleSet, rules or both")
	}
	faults.add(at+".rules", RulesProblem(w.Rules))
}

// RulesProblem is what is wrong with a WAF's rules, "" where they look at
// requests and nothing else. It goes statement by statement. ModSecurity takes a
// second directive behind the first in the same line, and ends a comment where
// its line ends whatever stands there, so neither may be written here.
func RulesProblem(rules string) string {
	if len(rules) > maxRules {
		return fmt.Sprintf("are %d bytes: use at most %d", len(rules), maxRules)
	}
	if rules == "" {
		return ""
	}
	if problem := TextProblem([]byte(rules)); problem != "" {
		return problem
	}
	if at := wafReaches.FindStringIndex(rules); at != nil {
		return reachProblem(1+strings.Count(rules[:at[0]], "\n"), rules[at[0]:at[1]])
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(rules, "\r\n"), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		start, rule := i+1, lines[i]
		for strings.HasSuffix(rule, `\`) && i+1 < len(lines) {
			i++
			rule = strings.TrimSuffix(rule, `\`) + lines[i]
		}
		if problem := ruleProblem(rule, i > start-1); problem != "" {
			return fmt.Sprintf("line %d: %s", start, problem)
		}
		if reach := wafReaches.FindString(rule); reach != "" {
			return reachProblem(start, reach)
		}
	}
	return ""
}

func reachProblem(line int, text string) string {
	return fmt.Sprintf("line %d: %q reads or writes files, asks other hosts, runs programs or turns the engine, which rules may not, not in a comment either", line, text)
}

// ruleProblem looks at one statement, of which several lines were put together
// where it is folded.
func ruleProblem(rule string, folded bool) string {
	words, problem := ruleWords(rule)
	switch {
	case strings.HasPrefix(strings.TrimSpace(rule), "#"):
		if folded || strings.HasSuffix(strings.TrimSpace(rule), `\`) {
			return "a comment may not end in a backslash"
		}
		return ""
	case strings.HasSuffix(strings.TrimRight(rule, " \t"), `\`):
		return "ends in a backslash, and nothing may follow it but the next line"
	case problem != "":
		return problem
	case len(words) == 0:
		return ""
	}
	directive := strings.ToLower(words[0])
	if !slices.ContainsFunc(wafDirectives, func(d string) bool { return strings.EqualFold(d, directive) }) {
		return fmt.Sprintf("%q may not stand here: use %s", clip(words[0]), strings.Join(wafDirectives[:3], ", ")+" and their like")
	}
	bounds, listed := wafWords[directive]
	if !listed {
		bounds = [2]int{1, 1}
	}
	if n := len(words) - 1; n < bounds[0] || n > bounds[1] {
		return fmt.Sprintf("%s has %d words behind it and takes %s: put each that has spaces into double quotes, and each directive into a line of its own",
			words[0], n, span(bounds))
	}
	if shape := wafShapes[directive]; shape != nil {
		for _, word := range words[1:] {
			if !shape.MatchString(word) {
				return fmt.Sprintf("%s takes no %s", words[0], clip(word))
			}
		}
	}
	if strings.HasPrefix(directive, "secruleupdate") && strings.HasSuffix(directive, "byid") && !oneRule.MatchString(words[1]) {
		return fmt.Sprintf("%s takes the id of one rule, and of %s ModSecurity would take the first alone: use SecRuleUpdateTargetByTag, or a line for each", words[0], clip(words[1]))
	}
	return ""
}

// wafShapes are how the words behind a directive look that takes any number of
// them: ModSecurity would take another directive among them for one.
var wafShapes = map[string]*regexp.Regexp{
	"secruleremovebyid":       regexp.MustCompile(`^"?[0-9]+(-[0-9]+)?"?$`),
	"secresponsebodymimetype": regexp.MustCompile(`^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+$|^\(null\)$`),
}

// oneRule is a rule's id, with its place in a chain.
var oneRule = regexp.MustCompile(`^"?[0-9]+(:[0-9]+)?"?$`)

func span(bounds [2]int) string {
	if bounds[0] == bounds[1] {
		return fmt.Sprint(bounds[0])
	}
	return fmt.Sprintf("%d to %d", bounds[0], bounds[1])
}

// ruleWords takes a statement apart. A word is text without spaces and quotes,
// or stands in double quotes, in which a backslash guards the next character.
func ruleWords(rule string) (words []string, problem string) {
	for rest := strings.TrimLeft(rule, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		end := strings.IndexAny(rest, " \t\"")
		if rest[0] == '"' {
			end = closing(rest)
			if end < 0 {
				return nil, "a double quote is not closed on its line"
			}
		} else if end < 0 {
			end = len(rest)
		}
		words, rest = append(words, rest[:end]), rest[end:]
		if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			return nil, fmt.Sprintf("a space is missing before %s", clip(rest))
		}
	}
	return words, ""
}

// closing is the end of the quoted word that a text begins with, -1 if there is none.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
