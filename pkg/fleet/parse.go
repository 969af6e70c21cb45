package fleet

import (
	"slices"
	"strconv"
	"strings"
)

// ParseSelector reads a selector: `a=b`, `a==b`, `a!=b`, `a in (x,y)`,
// `a notin (x,y)`, `a`, `!a`, `a>1`, `a<1`, joined by commas that mean "and".
// The error is Invalid and gives the column, counted in bytes from 1, what is
// there and what was expected.
func ParseSelector(text string) (Selector, error) {
	p := &selectorParser{text: text, tokens: scanSelector(text)}
	s, err := p.selector()
	if err != nil {
		return Selector{}, err
	}
	slices.SortStableFunc(s.requirements, func(a, b requirement) int { return strings.Compare(a.key, b.key) })
	return s, nil
}

// token is a word or a symbol; the last one is empty and marks the end.
type token struct {
	text   string
	column int
	word   bool
}

func (t token) end() bool { return t.text == "" }

// symbols, the longer before those that they begin with.
var symbols = []string{"==", "!=", "=", "!", "(", ")", ",", ">", "<"}

// scanSelector splits text into tokens. It cannot fail: what is no symbol and
// no white space is part of a word, and words are checked when they are used.
func scanSelector(text string) []token {
	const space, special = " \t\r\n", "=!(),><"
	var tokens []token
	for i := 0; i < len(text); {
		if strings.IndexByte(space, text[i]) >= 0 {
			i++
			continue
		}
		t := token{column: i + 1}
		for _, s := range symbols {
			if strings.HasPrefix(text[i:], s) {
				t.text = s
				break
			}
		}
		if t.text == "" {
			length := strings.IndexAny(text[i:], space+special)
			if length < 0 {
				length = len(text) - i
			}
			t.text, t.word = text[i:i+length], true
		}
		tokens = append(tokens, t)
		i += len(t.text)
	}
	return append(tokens, token{column: len(text) + 1})
}

// selectorParser reads tokens from left to right, one function per rule.
type selectorParser struct {
	text   string
	tokens []token
	at     int
}

func (p *selectorParser) peek() token { return p.tokens[p.at] }

func (p *selectorParser) next() token {
	t := p.tokens[p.at]
	if !t.end() {
		p.at++
	}
	return t
}

func (p *selectorParser) expected(t token, what string) error {
	found := "the end"
	if !t.end() {
		found = strconv.Quote(clip(t.text))
	}
	return p.wrong(t, "found %s, expected %s", found, what)
}

func (p *selectorParser) wrong(t token, format string, args ...any) error {
	return Errorf(Invalid, "selector %q: column %d: "+format, append([]any{clip(p.text), t.column}, args...)...)
}

func (p *selectorParser) selector() (Selector, error) {
	var s Selector
	if p.peek().end() {
		return s, nil
	}
	for {
		r, err := p.requirement()
		if err != nil {
			return s, err
		}
		s.requirements = append(s.requirements, r)
		switch t := p.next(); {
		case t.end():
			return s, nil
		case t.text != ",":
			return s, p.expected(t, "',' or the end")
		}
	}
}

func (p *selectorParser) requirement() (requirement, error) {
	absent := p.peek().text == "!"
	if absent {
		p.next()
	}
	t := p.next()
	if !t.word && absent {
		return requirement{}, p.expected(t, "a label key after '!'")
	}
	if !t.word {
		return requirement{}, p.expected(t, "a label key or '!'")
	}
	if problem := labelKeyProblem(t.text); problem != "" {
		return requirement{}, p.wrong(t, "label key %q %s", clip(t.text), problem)
	}
	if absent {
		return requirement{key: t.text, op: opAbsent}, nil
	}
	if after := p.peek(); after.end() || after.text == "," {
		return requirement{key: t.text, op: opExists}, nil
	}
	return p.condition(t.text)
}

// condition reads an operator and its values.
func (p *selectorParser) condition(key string) (requirement, error) {
	t := p.next()
	r := requirement{key: key, op: operator(t.text)}
	var err error
	switch r.op {
	case opIn, opNotIn:
		r.values, err = p.set()
	case opEquals, opDoubleEquals, opNotEquals, opGreater, opLess:
		r.values, err = p.value(r.op)
	default:
		err = p.expected(t, "one of =, ==, !=, in, notin, >, <, ',' or the end")
	}
	return r, err
}

// value reads what stands right of an operator; nothing at all is the empty value.
func (p *selectorParser) value(op operator) ([]string, error) {
	t := p.peek()
	if t.word {
		p.next()
	} else if !t.end() && t.text != "," {
		return nil, p.expected(t, "a label value")
	} else {
		t.text = ""
	}
	if op == opGreater || op == opLess {
		if _, err := strconv.ParseInt(t.text, 10, 64); err != nil {
			return nil, p.wrong(t, "%s compares whole numbers, %q is none", op, clip(t.text))
		}
	}
	return p.checked(nil, t)
}

// set reads `(x,y)`. Where a value is missing the empty value is meant, so
// `(x,)` holds two values and `()` one.
func (p *selectorParser) set() ([]string, error) {
	if t := p.next(); t.text != "(" {
		return nil, p.expected(t, "'('")
	}
	var values []string
	for {
		t := p.peek()
		if t.word {
			p.next()
		} else if t.text == "," || t.text == ")" {
			t.text = ""
		} else {
			return nil, p.expected(t, "a label value, ',' or ')'")
		}
		var err error
		if values, err = p.checked(values, t); err != nil {
			return nil, err
		}
		switch t := p.next(); t.text {
		case ")":
			slices.Sort(values)
			return slices.Compact(values), nil
		case ",":
		default:
			return nil, p.expected(t, "',' or ')'")
		}
	}
}

func (p *selectorParser) checked(values []string, t token) ([]string, error) {
	if problem := labelValueProblem(t.text); problem != "" {
		return nil, p.wrong(t, "label value %q %s", clip(t.text), problem)
	}
	return append(values, t.text), nil
}
