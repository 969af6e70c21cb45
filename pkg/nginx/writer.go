package nginx

import (
	"fmt"
	"strings"
)

// writer writes nginx's syntax with indentation.
type writer struct {
	b     strings.Builder
	depth int
}

// line writes one line. What is formatted into it has been quoted.
func (w *writer) line(format string, args ...any) {
	if format != "" {
		w.b.WriteString(strings.Repeat("    ", w.depth))
	}
	fmt.Fprintf(&w.b, format+"\n", args...)
}

// open begins a block, close ends it.
func (w *writer) open(format string, args ...any) {
	w.line(format+" {", args...)
	w.depth++
}

func (w *writer) close() {
	w.depth--
	w.line("}")
}

func (w *writer) String() string { return w.b.String() }
