package fleet

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression that is compiled when it is first used: one
// with a bound such as {1,253} takes 100 KB and a millisecond, and an idle
// agent uses few of them.
type Pattern struct{ compiled func() *regexp.Regexp }

// NewPattern is regexp.MustCompile, later: a text that is no expression
// panics at the first use.
func NewPattern(text string) Pattern {
	return Pattern{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// MatchString reports whether a text holds a match.
func (p Pattern) MatchString(text string) bool { return p.compiled().MatchString(text) }
