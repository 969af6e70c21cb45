package nginx

import (
	"fmt"
	"strings"
)

// statement is one directive as nginx reads it.
type statement struct {
	words []string // the name and its parameters, without quotes and escapes
	line  int      // from 1, of the name
	block bool     // it ends in braces
	inner []statement
}

func (s statement) name() string { return s.words[0] }

func (s statement) args() []string { return s.words[1:] }

// arg is the i-th parameter, from 1; "" where there are not so many.
func (s statement) arg(i int) string {
	if i < len(s.words) {
		return s.words[i]
	}
	return ""
}

// syntaxError is where text stops being nginx configuration.
type syntaxError struct {
	line int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

const (
	maxDepth = 16   // of blocks; nginx's own are five deep, locations may nest
	maxWord  = 4096 // nginx reads a parameter into a buffer of that size
)

// read takes text apart as nginx does (ngx_conf_read_token), byte by byte,
// rather than as a library that reads configuration leniently: what one of the
// two takes for a comment or a quoted word and the other for a directive would
// be a way around every check. The error is a *syntaxError.
func read(text string) ([]statement, error) {
	r := reader{text: text, line: 1}
	all, closed, err := r.block(0)
	if err == nil && closed {
		err = r.wrong("a } that nothing opened")
	}
	return all, err
}

type reader struct {
	text string
	at   int
	line int
}

func (r *reader) wrong(format string, args ...any) error {
	return &syntaxError{r.line, fmt.Sprintf(format, args...)}
}

// block reads statements to the end of the text or the brace that closes it.
func (r *reader) block(depth int) (all []statement, closed bool, err error) {
	if depth > maxDepth {
		return nil, false, r.wrong("blocks are nested more than %d deep", maxDepth)
	}
	for {
		s, end, err := r.statement()
		if err != nil || end == '}' || end == 0 {
			return all, end == '}', err
		}
		if end == '{' {
			s.block = true
			opened := s.line
			if strings.HasSuffix(s.name(), "_by_lua_block") {
				err = r.code()
			} else if s.inner, closed, err = r.block(depth + 1); err == nil && !closed {
				err = &syntaxError{opened, fmt.Sprintf("the { of %q is never closed", clip(s.name()))}
			}
			if err != nil {
				return nil, false, err
			}
		}
		all = append(all, s)
	}
}

// statement reads up to ; { } or, as 0, the end of the text.
func (r *reader) statement() (s statement, end byte, err error) {
	for {
		r.space()
		if r.at == len(r.text) {
			if len(s.words) > 0 {
				return s, 0, r.wrong("the text ends in the middle of %q: a ; is missing", clip(s.name()))
			}
			return s, 0, nil
		}
		c := r.text[r.at]
		switch c {
		case '#':
			r.comment()
			continue
		case ';', '{':
			if len(s.words) == 0 {
				return s, 0, r.wrong("a %c without a directive before it", c)
			}
			r.at++
			return s, c, nil
		case '}':
			if len(s.words) > 0 {
				return s, 0, r.wrong("a ; is missing before the }")
			}
			r.at++
			return s, c, nil
		}
		if len(s.words) == 0 {
			s.line = r.line
		}
		word, err := r.word()
		if err != nil {
			return s, 0, err
		}
		s.words = append(s.words, word)
	}
}

func (r *reader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.next()
	}
}

func (r *reader) comment() {
	for r.at < len(r.text) && r.text[r.at] != '\n' {
		r.at++
	}
}

func (r *reader) next() {
	if r.at == len(r.text) {
		return
	}
	if r.text[r.at] == '\n' {
		r.line++
	}
	r.at++
}

// word reads one parameter, which begins here.
func (r *reader) word() (string, error) {
	quote := r.text[r.at]
	if quote != '"' && quote != '\'' {
		return r.bare()
	}
	opened := r.line
	r.next()
	from := r.at
	for r.at < len(r.text) && r.text[r.at] != quote {
		if r.text[r.at] == '\\' && r.at+1 < len(r.text) {
			r.next()
		}
		r.next()
	}
	if r.at == len(r.text) {
		return "", &syntaxError{opened, "a quote is never closed"}
	}
	word := r.text[from:r.at]
	r.at++
	if r.at < len(r.text) && strings.IndexByte(" \t\r\n;{)", r.text[r.at]) < 0 {
		return "", r.wrong("%q directly after a closing quote", r.text[r.at])
	}
	return r.sized(word)
}

func (r *reader) bare() (string, error) {
	from := r.at
	variable := false
	for ; r.at < len(r.text); r.next() {
		c := r.text[r.at]
		if c == '{' && variable { // ${name}
			continue
		}
		if strings.IndexByte(" \t\r\n;{", c) >= 0 {
			break
		}
		variable = c == '$'
		if c == '\\' && r.at+1 < len(r.text) {
			r.next()
		}
	}
	return r.sized(r.text[from:r.at])
}

func (r *reader) sized(word string) (string, error) {
	if len(word) >= maxWord {
		return "", r.wrong("a parameter is longer than %d bytes: is a quote missing?", maxWord)
	}
	return unescape(word), nil
}

// unescape is what nginx makes of backslashes: before a quote or another one
// they go, \t \r \n become what they mean, before all else they stay.
func unescape(word string) string {
	if strings.IndexByte(word, '\\') < 0 {
		return word
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' && i+1 < len(word) {
			if at := strings.IndexByte(`"'\trn`, word[i+1]); at >= 0 {
				b.WriteByte("\"'\\\t\r\n"[at])
				i++
				continue
			}
		}
		b.WriteByte(word[i])
	}
	return b.String()
}

// code skips a block of Lua up to its own brace: those in its strings and
// comments do not count.
func (r *reader) code() error {
	opened := r.line
	for depth := 1; depth > 0; r.next() {
		if r.at >= len(r.text) {
			return &syntaxError{opened, "a block of Lua is never closed"}
		}
		switch c := r.text[r.at]; {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == '"' || c == '\'':
			for r.next(); r.at < len(r.text)-1 && r.text[r.at] != c; r.next() {
				if r.text[r.at] == '\\' {
					r.next()
				}
			}
		case strings.HasPrefix(r.text[r.at:], "--"):
			for r.at < len(r.text)-1 && r.text[r.at+1] != '\n' {
				r.at++
			}
		}
	}
	return nil
}

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
