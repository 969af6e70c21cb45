package fleet

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FieldSelector chooses nodes by what is known of them, as Kubernetes' field
// selectors do, and with <, <=, > and >=, in and notin besides. The zero value
// matches everything. It does not change.
type FieldSelector struct {
	requirements []fieldRequirement // as they were written; all must hold
}

// FieldKind says how the values of a field compare.
type FieldKind string

const (
	// TextField is compared as it is; `*` stands for any text.
	TextField FieldKind = ""
	// NumberField is a whole number.
	NumberField FieldKind = "number"
	// VersionField is numbers with dots between: 1.9 is less than 1.22, and
	// 1.22 less than 1.22.1.
	VersionField FieldKind = "version"
	// SpanField is a length of time: 90s, 15m, 36h, 7d, 2w.
	SpanField FieldKind = "duration"
	// ListField holds several texts, and equals each of them.
	ListField FieldKind = "list"
)

// Field is something that a FieldSelector can ask for.
type Field struct {
	Name    string
	Kind    FieldKind
	Summary string
	Words   []string // all values that it can have; nil is any
}

// FieldValue is what a node has in a field. Known is false where nothing is
// known: then only != and notin match.
type FieldValue struct {
	Known bool
	Text  string        // text, number, version
	List  []string      // list
	Span  time.Duration // duration
}

// Text is the value of a field of text, number or version; "" is not known.
func Text(s string) FieldValue { return FieldValue{Known: s != "", Text: s} }

type fieldRequirement struct {
	field  Field
	op     string
	values []string
}

// orderings are the operators that compare.
var orderings = map[string]func(order int) bool{
	"<":  func(o int) bool { return o < 0 },
	"<=": func(o int) bool { return o <= 0 },
	">":  func(o int) bool { return o > 0 },
	">=": func(o int) bool { return o >= 0 },
}

// Empty reports whether the selector matches everything because it asks nothing.
func (s FieldSelector) Empty() bool { return len(s.requirements) == 0 }

// Matches reports whether a node meets every requirement; value is asked for
// the fields that the selector names, and only for those.
func (s FieldSelector) Matches(value func(name string) FieldValue) bool {
	for _, r := range s.requirements {
		if !r.matches(value(r.field.Name)) {
			return false
		}
	}
	return true
}

// String is the selector's text, values in quotes where they need them.
func (s FieldSelector) String() string {
	parts := make([]string, len(s.requirements))
	for i, r := range s.requirements {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

func (r fieldRequirement) String() string {
	var values []string
	list := r.op == "in" || r.op == "notin"
	for _, v := range r.values {
		values = append(values, quoteField(v, list))
	}
	if list {
		return r.field.Name + " " + r.op + " (" + strings.Join(values, ",") + ")"
	}
	return r.field.Name + r.op + values[0]
}

// quoteField puts a value in quotes if it needs them. One that holds both kinds
// was written without, and so needs none.
func quoteField(v string, list bool) string {
	quote := `"`
	if strings.Contains(v, quote) {
		quote = "'"
	}
	if v == "" || strings.Contains(v, ",") || list && strings.Contains(v, ")") || v[0] == '"' || v[0] == '\'' || strings.TrimSpace(v) != v {
		return quote + v + quote
	}
	return v
}

func (r fieldRequirement) matches(have FieldValue) bool {
	switch r.op {
	case "=", "in":
		return have.Known && r.equals(have)
	case "!=", "notin":
		return !have.Known || !r.equals(have)
	}
	return have.Known && orderings[r.op](r.compare(have))
}

// equals reports whether what a node has is one of the values.
func (r fieldRequirement) equals(have FieldValue) bool {
	return slices.ContainsFunc(r.values, func(want string) bool {
		switch r.field.Kind {
		case ListField:
			return slices.ContainsFunc(have.List, func(s string) bool { return glob(want, s) })
		case SpanField:
			d, _ := ParseDuration(want) // checked when it was read
			return have.Span == d
		}
		return glob(want, have.Text)
	})
}

// compare is the order of what a node has and the value.
func (r fieldRequirement) compare(have FieldValue) int {
	switch r.field.Kind {
	case SpanField:
		d, _ := ParseDuration(r.values[0]) // checked when it was read
		return int(min(max(have.Span-d, -1), 1))
	case NumberField:
		return compareNumbers(have.Text, r.values[0])
	}
	return CompareVersions(have.Text, r.values[0])
}

// compareNumbers compares whole numbers; what is none is 0.
func compareNumbers(a, b string) int {
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// CompareVersions compares versions number by number: 1.9 < 1.22 < 1.22.1. What
// stands behind the first other character, as in 1.27.0-rc1, does not count.
func CompareVersions(a, b string) int {
	return slices.Compare(versionOf(a), versionOf(b))
}

// versionOf are a version's numbers, as far as they go; a v before them is no matter.
func versionOf(text string) []int {
	var numbers []int
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "v"), ".") {
		digits := len(part) - len(strings.TrimLeft(part, "0123456789"))
		n, err := strconv.Atoi(part[:digits])
		if err != nil && digits > 0 {
			n, err = math.MaxInt, nil // more digits than any number has
		}
		if err != nil {
			break
		}
		if numbers = append(numbers, n); digits < len(part) {
			break
		}
	}
	return numbers
}

// glob reports whether a text is a pattern's, in which each `*` is any text.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}
