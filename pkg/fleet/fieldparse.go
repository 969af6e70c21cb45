package fleet

import (
	"slices"
	"strconv"
	"strings"
)

// ParseFields reads a field selector: `name=value`, `==`, `!=`, `<`, `<=`, `>`,
// `>=`, `name in (a,b)`, `name notin (a,b)`, joined by commas that mean "and". A
// value goes to the next comma; one that holds a comma or begins or ends with a
// space is written in quotes. The error is Invalid, gives the column, counted in
// bytes from 1, and names the fields that are known.
func ParseFields(text string, known []Field) (FieldSelector, error) {
	p := fieldParser{text: text, known: known}
	var s FieldSelector
	if p.space(); p.end() {
		return s, nil
	}
	for {
		r, err := p.requirement()
		if err != nil {
			return FieldSelector{}, err
		}
		s.requirements = append(s.requirements, r)
		if p.space(); p.end() {
			return s, nil
		}
		if !p.take(",") {
			return FieldSelector{}, p.wrong("found %q, expected ',' or the end", p.rest())
		}
		p.space()
	}
}

// fieldParser reads the text from left to right.
type fieldParser struct {
	text  string
	at    int
	known []Field
}

func (p *fieldParser) end() bool { return p.at == len(p.text) }

func (p *fieldParser) space() {
	for !p.end() && p.text[p.at] == ' ' {
		p.at++
	}
}

func (p *fieldParser) take(symbol string) bool {
	if !strings.HasPrefix(p.text[p.at:], symbol) {
		return false
	}
	p.at += len(symbol)
	return true
}

// rest is a little of what was not read, for errors.
func (p *fieldParser) rest() string {
	if p.end() {
		return "the end"
	}
	return clip(p.text[p.at:])
}

func (p *fieldParser) wrong(format string, args ...any) error {
	return Errorf(Invalid, "field selector %q: column %d: "+format, append([]any{clip(p.text), p.at + 1}, args...)...)
}

// operators, the longer before those that they begin with.
var operators = []string{"==", "!=", ">=", "<=", "=", ">", "<", "notin", "in"}

func (p *fieldParser) requirement() (r fieldRequirement, err error) {
	length := strings.IndexFunc(p.text[p.at:], func(c rune) bool { return c != '.' && c != '-' && c != '_' && !isAlnum(c) })
	if length < 0 {
		length = len(p.text) - p.at
	}
	name := p.text[p.at : p.at+length]
	i := slices.IndexFunc(p.known, func(f Field) bool { return f.Name == name })
	switch {
	case name == "":
		return r, p.wrong("found %s, expected a field such as %s", p.rest(), p.known[0].Name)
	case i < 0:
		meant := ""
		if near := Nearest(name, fieldNames(p.known)); near != "" {
			meant = "did you mean " + near + "? "
		}
		return r, p.wrong("there is no field %q: %sthere are %s", clip(name), meant, strings.Join(fieldNames(p.known), ", "))
	}
	r.field = p.known[i]
	p.at += length
	p.space()
	for _, op := range operators {
		if p.take(op) {
			r.op = op
			break
		}
	}
	switch {
	case r.op == "":
		return r, p.wrong("found %s, expected one of =, !=, <, <=, >, >=, in, notin after %s", p.rest(), name)
	case r.op == "==":
		r.op = "="
	case orderings[r.op] != nil && (r.field.Kind == TextField || r.field.Kind == ListField):
		return r, p.wrong("%s has no order: use =, !=, in or notin with it", name)
	}
	p.space()
	if r.op == "in" || r.op == "notin" {
		return r, p.list(&r)
	}
	return r, p.value(&r, ",")
}

func (p *fieldParser) list(r *fieldRequirement) error {
	if !p.take("(") {
		return p.wrong("found %s, expected '('", p.rest())
	}
	for {
		if p.space(); p.end() {
			return p.wrong("found the end, expected ')'")
		}
		if err := p.value(r, ",)"); err != nil {
			return err
		}
		p.space()
		switch {
		case p.take(")"):
			return nil
		case !p.take(","):
			return p.wrong("found %s, expected ',' or ')'", p.rest())
		}
	}
}

// value reads one value, up to one of the characters or in quotes.
func (p *fieldParser) value(r *fieldRequirement, stop string) error {
	begin, value := p.at, ""
	if quote := p.text[p.at:]; quote != "" && (quote[0] == '"' || quote[0] == '\'') {
		length := strings.IndexByte(quote[1:], quote[0])
		if length < 0 {
			return p.wrong("a quote is open: write %c at the end of the value", quote[0])
		}
		value = quote[1 : length+1]
		p.at += length + 2
	} else {
		length := strings.IndexAny(p.text[p.at:], stop)
		if length < 0 {
			length = len(p.text) - p.at
		}
		value = strings.TrimSpace(p.text[p.at : p.at+length])
		p.at += length
	}
	if problem := r.field.problem(value, r.op); problem != "" {
		p.at = begin
		return p.wrong("%s%s %s", r.field.Name, r.op, problem)
	}
	r.values = append(r.values, value)
	return nil
}

// problem says what is wrong with a value; "" is nothing.
func (f Field) problem(value, op string) string {
	pattern := orderings[op] == nil && strings.Contains(value, "*")
	switch {
	case f.Words != nil && !pattern && !slices.Contains(f.Words, value):
		return "has no value " + strconv.Quote(clip(value)) + ": use " + strings.Join(f.Words, ", ")
	case f.Kind == SpanField:
		if _, err := ParseDuration(value); err != nil {
			return err.Error()
		}
	case f.Kind == NumberField && !pattern:
		if _, err := strconv.ParseUint(value, 10, 64); err != nil {
			return strconv.Quote(clip(value)) + " is not a whole number"
		}
	case f.Kind == VersionField && orderings[op] != nil && versionOf(value) == nil:
		return strconv.Quote(clip(value)) + " is not a version such as 1.22.1"
	}
	return ""
}

func fieldNames(known []Field) (names []string) {
	for _, f := range known {
		names = append(names, f.Name)
	}
	return names
}
