package fleet

import (
	"slices"
	"strconv"
	"strings"
)

// Selector chooses nodes by their labels, in Kubernetes' syntax and with its
// meaning. The zero Selector, like the empty text, matches everything. A
// Selector does not change and may be used from many goroutines.
type Selector struct {
	requirements []requirement // sorted by key; all must hold
}

// operator is written as it is in the text.
type operator string

const (
	opEquals       operator = "="
	opDoubleEquals operator = "=="
	opNotEquals    operator = "!="
	opIn           operator = "in"
	opNotIn        operator = "notin"
	opExists       operator = "exists"
	opAbsent       operator = "!"
	opGreater      operator = ">"
	opLess         operator = "<"
)

// requirement is one condition on one label.
type requirement struct {
	key    string
	op     operator
	values []string // sorted, no doubles
}

// Matches reports whether labels meet every requirement. As in Kubernetes,
// `a!=b` and `a notin (b)` also match where there is no label a.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s.requirements {
		if !r.matches(labels) {
			return false
		}
	}
	return true
}

// Empty reports whether the selector matches everything because it asks nothing.
func (s Selector) Empty() bool { return len(s.requirements) == 0 }

// String is the selector's canonical text: sorted by key, no spaces but
// around in and notin. ParseSelector gives the same selector back.
func (s Selector) String() string {
	parts := make([]string, len(s.requirements))
	for i, r := range s.requirements {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

func (r requirement) matches(labels map[string]string) bool {
	value, found := labels[r.key]
	switch r.op {
	case opExists:
		return found
	case opAbsent:
		return !found
	case opEquals, opDoubleEquals, opIn:
		return found && slices.Contains(r.values, value)
	case opNotEquals, opNotIn:
		return !found || !slices.Contains(r.values, value)
	case opGreater, opLess:
		return found && r.compares(value)
	}
	return false
}

// compares is for > and <: whole numbers only, anything else does not match.
func (r requirement) compares(value string) bool {
	have, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return false
	}
	limit, err := strconv.ParseInt(r.values[0], 10, 64)
	if err != nil {
		return false
	}
	if r.op == opGreater {
		return have > limit
	}
	return have < limit
}

func (r requirement) String() string {
	switch r.op {
	case opExists:
		return r.key
	case opAbsent:
		return "!" + r.key
	case opIn, opNotIn:
		return r.key + " " + string(r.op) + " (" + strings.Join(r.values, ",") + ")"
	}
	return r.key + string(r.op) + r.values[0]
}
