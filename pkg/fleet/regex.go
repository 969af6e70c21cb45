package fleet

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxRegex bounds a location's expression; real ones have a few dozen bytes.
const maxRegex = 512

// regexProblem checks the expression of a location. Go's syntax is a subset
// of what nginx's PCRE reads, so look-around and back references are refused;
// so are repetitions inside repetitions that let PCRE try exponentially many
// ways, because one request could then hold a worker for seconds. It is a
// check for known traps and no proof: PCRE's own match limit stays the last bound.
func regexProblem(text string) string {
	if text == "" {
		return "is missing: write an expression such as ^/api/"
	}
	if len(text) > maxRegex {
		return fmt.Sprintf("is %d bytes long: use at most %d", len(text), maxRegex)
	}
	if problem := wordProblem(text, " ;\"'`"); problem != "" {
		return problem
	}
	if _, err := regexp.Compile(text); err != nil {
		return fmt.Sprintf("%q is not a regular expression that Go and nginx both read: %s", clip(text), err)
	}
	if strings.Contains(text, "(?P") || strings.Contains(text, "(?<") {
		return fmt.Sprintf("%q names a group, which would set a variable in nginx: use (…)", clip(text))
	}
	if inner := explosive(text); inner != "" {
		return fmt.Sprintf("%q repeats %q, which itself repeats: some requests would take nginx exponentially long", clip(text), inner)
	}
	return ""
}

// Explosive is a part of an expression that is repeated although it repeats
// itself, "" where there is none. An expression that only PCRE reads is not
// judged.
func Explosive(text string) string {
	if _, err := syntax.Parse(groupStart.ReplaceAllString(text, "("), syntax.Perl); err != nil {
		return ""
	}
	return explosive(text)
}

// groupStart is "(?:" and "(?flags:". For the analysis they become "(",
// because Go's parser may simplify what it need not capture.
var groupStart = regexp.MustCompile(`\(\?[a-zA-Z-]*:`)

// explosive returns a part that is repeated although it repeats itself and
// has no delimiter between one round and the next; "" is none.
func explosive(text string) string {
	flags := syntax.Perl
	if strings.Contains(text, "(?i") {
		flags |= syntax.FoldCase
	}
	re, err := syntax.Parse(groupStart.ReplaceAllString(text, "("), flags)
	if err != nil {
		return text // the groups cannot be told apart: refuse rather than guess
	}
	return findExplosive(re)
}

func findExplosive(re *syntax.Regexp) string {
	if isLoop(re) && hasLoop(re.Sub[0]) && !isDelimited(re.Sub[0]) {
		return re.Sub[0].String()
	}
	for _, sub := range re.Sub {
		if found := findExplosive(sub); found != "" {
			return found
		}
	}
	return ""
}

// isLoop reports whether re repeats an open number of times. Some rounds
// more or less ({1,3}) cannot explode; ten are taken for open.
func isLoop(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		return true
	case syntax.OpRepeat:
		return re.Max < 0 || re.Max >= 10
	}
	return false
}

func hasLoop(re *syntax.Regexp) bool {
	if isLoop(re) {
		return true
	}
	for _, sub := range re.Sub {
		if hasLoop(sub) {
			return true
		}
	}
	return false
}

// isDelimited reports whether each round of a loop over re holds one
// character that can be nothing else in it, as "/" in ([a-z]+/)*: then there
// is only one way to tell the rounds apart.
func isDelimited(re *syntax.Regexp) bool {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op != syntax.OpConcat {
		return false
	}
	for i, sub := range re.Sub {
		if sub.Op != syntax.OpLiteral {
			continue
		}
		for _, c := range sub.Rune {
			others := strings.Count(strings.ToLower(string(sub.Rune)), strings.ToLower(string(c))) - 1
			for j, other := range re.Sub {
				if j != i && canMatch(other, c) {
					others++
				}
			}
			if others == 0 {
				return true
			}
		}
	}
	return false
}

// canMatch reports whether c can be part of what re matches.
func canMatch(re *syntax.Regexp, c rune) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return strings.ContainsRune(strings.ToLower(string(re.Rune)), c) || strings.ContainsRune(strings.ToUpper(string(re.Rune)), c)
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if re.Rune[i] <= c && c <= re.Rune[i+1] {
				return true
			}
		}
		return false
	}
	for _, sub := range re.Sub {
		if canMatch(sub, c) {
			return true
		}
	}
	return false
}
