package fleet

import (
	"maps"
	"slices"
	"strings"
)

// CheckLabels checks keys and values by Kubernetes' grammar. A key is an
// optional DNS prefix and "/", then 1 to 63 letters, digits, `-`, `_` or `.`
// that begin and end with a letter or digit; a value is the same without
// prefix, or empty. Each fault's path is the label's key.
func CheckLabels(labels map[string]string) Faults {
	var faults Faults
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if problem := labelKeyProblem(key); problem != "" {
			faults.Addf(clip(key), "label key %q %s", clip(key), problem)
		}
		if problem := labelValueProblem(labels[key]); problem != "" {
			faults.Addf(clip(key), "label value %q %s", clip(labels[key]), problem)
		}
	}
	return faults
}

const (
	labelRule  = "use 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"
	prefixRule = "use a lower-case DNS name of at most 253 characters before '/'"
)

// labelKeyProblem says what is wrong with a key and what is allowed; "" is nothing.
func labelKeyProblem(key string) string {
	name := key
	if prefix, rest, found := strings.Cut(key, "/"); found {
		if !isDNSSubdomain(prefix) {
			return "has a bad prefix: " + prefixRule
		}
		name = rest
	}
	if !isLabelWord(name) {
		return "is not a label key: " + labelRule
	}
	return ""
}

// labelValueProblem is labelKeyProblem for values.
func labelValueProblem(value string) string {
	if value != "" && !isLabelWord(value) {
		return "is not a label value: leave it empty or " + labelRule
	}
	return ""
}

func isLabelWord(s string) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	for _, c := range s {
		if !isAlnum(c) && !strings.ContainsRune("-_.", c) {
			return false
		}
	}
	return isAlnum(rune(s[0])) && isAlnum(rune(s[len(s)-1]))
}

// isDNSSubdomain is RFC 1123 as Kubernetes reads it: lower case, at most 253.
func isDNSSubdomain(s string) bool {
	if len(s) > 253 || s != strings.ToLower(s) {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || !isDNSLabel(part) {
			return false
		}
	}
	return true
}

func isDNSLabel(part string) bool {
	for _, c := range part {
		if !isAlnum(c) && c != '-' {
			return false
		}
	}
	return isAlnum(rune(part[0])) && isAlnum(rune(part[len(part)-1]))
}
