package adopt

import (
	"regexp"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// write writes directives in nginx's syntax. The parser's own writer goes
// through Go's quoting, which changes what is not ASCII and halves backslashes.
func write(all crossplane.Directives) string {
	var b strings.Builder
	writeBlock(&b, all, "")
	return b.String()
}

func writeBlock(b *strings.Builder, all crossplane.Directives, indent string) {
	for _, d := range all {
		b.WriteString(indent + quoted(d.Directive))
		args := make([]string, len(d.Args))
		for i, arg := range d.Args {
			args[i] = quoted(arg)
		}
		switch {
		case d.Directive == "if": // the parser takes the parentheses off
			b.WriteString(" (" + strings.Join(args, " ") + ")")
		case len(args) > 0:
			b.WriteString(" " + strings.Join(args, " "))
		}
		if !d.IsBlock() {
			b.WriteString(";\n")
			continue
		}
		b.WriteString(" {\n")
		writeBlock(b, d.Block, indent+"    ")
		b.WriteString(indent + "}\n")
	}
}

// bare needs no quotes anywhere.
var bare = regexp.MustCompile(`^[A-Za-z0-9_./:*=~^@%+,?!|<>&-]+$|^\$[A-Za-z0-9_]+$`)

// quoted is a parameter as it stood, with the escapes that the parser left in
// place, inside quotes where it needs any.
func quoted(arg string) string {
	if bare.MatchString(arg) {
		return arg
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(arg); i++ {
		switch {
		case arg[i] == '\\' && i+1 < len(arg):
			b.WriteString(arg[i : i+2])
			i++
		case arg[i] == '\\': // alone at the end
			b.WriteString(`\\`)
		case arg[i] == '"':
			b.WriteString(`\"`)
		default:
			b.WriteByte(arg[i])
		}
	}
	b.WriteByte('"')
	return b.String()
}
