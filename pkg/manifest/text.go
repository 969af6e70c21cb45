package manifest

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"fairlead/pkg/fleet"
)

// text reads all documents of one file.
func (r *reader) text(file string, data []byte) {
	if line, problem := textProblem(data); problem != "" {
		r.fault(file, line, "%s", problem)
		return
	}
	documents := 0
	before := len(r.faults)
	for _, part := range split(string(data)) {
		if n := len(r.faults) - before; n > maxFaults {
			r.faults = r.faults[:before+maxFaults]
			r.fault(file, part.line, "has more faults, which are not listed: mend these first")
			return
		}
		if strings.HasPrefix(part.text, "%") {
			r.fault(file, part.line, "YAML directives are not read: remove the lines that begin with %%")
			documents++
			continue
		}
		node, line, problem := parse(part)
		switch {
		case problem != "":
			r.fault(file, line, "%s", problem)
			documents++
		case node != nil:
			r.document(file, part.line-1, node)
			documents++
		}
	}
	if documents == 0 {
		r.fault(file, 0, "holds no resource: begin with apiVersion: %s and kind: (%s)",
			fleet.APIVersion, strings.Join(fleet.Kinds(), ", "))
	}
}

// textProblem says why data cannot be YAML at all, and on which line.
func textProblem(data []byte) (line int, problem string) {
	if problem := fleet.TextProblem(data); problem != "" {
		bad := 0
		for i, n := 0, 0; i < len(data); i += n {
			var c rune
			c, n = utf8.DecodeRune(data[i:])
			if c == 0 || c == utf8.RuneError && n == 1 {
				bad = i
				break
			}
		}
		return 1 + bytes.Count(data[:bad], []byte("\n")), problem
	}
	for i, c := range string(data) {
		if c == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")) || c == 0x85 || c == 0x2028 || c == 0x2029 {
			return 1 + bytes.Count(data[:i], []byte("\n")), fmt.Sprintf("holds the line end %q: use LF or CRLF", c)
		}
		// What YAML 1.2 calls printable, section 5.1, without the byte order mark.
		switch {
		case c == '\t', c == '\n', c == '\r', ' ' <= c && c <= '~', c >= 0xa0 && c != 0xfeff && c != 0xfffe && c != 0xffff:
		default:
			return 1 + bytes.Count(data[:i], []byte("\n")), fmt.Sprintf("holds the control character %q: remove it", c)
		}
	}
	return 0, ""
}

// part is the text of one YAML document and the line of the file it begins on.
type part struct {
	text string
	line int
}

// split cuts a file at its document markers, so that a syntax error in one
// document does not hide the next. YAML gives `---` at the beginning of a line
// that meaning everywhere, also inside quotes and block scalars.
func split(text string) []part {
	var parts []part
	start, startLine, line := 0, 1, 0
	for at := 0; at < len(text); {
		line++
		end := len(text)
		if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		if marker := isMarker(text[at:end], "---"); marker || isMarker(text[at:end], "...") {
			parts = append(parts, part{text[start:at], startLine})
			start, startLine = at, line
			if !marker {
				start, startLine = end, line+1 // the marker ends a document and begins none
			}
		}
		at = end
	}
	return append(parts, part{text[start:], startLine})
}

func isMarker(line, marker string) bool {
	rest, found := strings.CutPrefix(line, marker)
	return found && (rest == "" || strings.ContainsAny(rest[:1], " \t\r\n"))
}
