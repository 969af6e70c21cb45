package nginx_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

// Whatever stands in a typed value, the rendered file has the same directives
// and blocks in the same order, and the values that are served tokenise back
// to what they were.
func FuzzTypedValuesNeverBecomeSyntax(f *testing.F) {
	for _, s := range []string{"plain", "a.com; } server {", "$host ${x}", "\"'\\", "\\", "\n}\n", "# no comment", "\x00", strings.Repeat("\\$\"", 2000), "a\\\nb"} {
		f.Add(s, s, s)
	}
	want := shape(f, "/p", "text", "value")
	f.Fuzz(func(t *testing.T, path, text, value string) {
		b, err := nginx.RenderUnvalidated("127.0.0.1", fuzzed(path, text, value))
		if err != nil {
			return // refused, which is always safe
		}
		directives := tokenise(t, string(content(b, "http.d/virtualhost-h.conf")))
		var got []string
		served := ""
		for _, d := range directives {
			switch d[0] {
			case "set": // a long text comes in pieces
				served += d[2]
				continue
			case "return":
				if len(d) > 2 && served == "" {
					served = d[2]
				}
			case "add_header":
				if back(d[2]) != value {
					t.Errorf("header %q comes back as %q", value, d[2])
				}
			case "location":
				if d[2] != path {
					t.Errorf("path %q comes back as %q", path, d[2])
				}
			}
			got = append(got, d[0])
		}
		if !slices.Equal(got, want) {
			t.Errorf("directives %q, want %q", got, want)
		}
		if back(served) != text {
			t.Errorf("text %q comes back as %q", text, served)
		}
	})
}

func fuzzed(path, text, value string) []fleet.Resource {
	return []fleet.Resource{resource("h", &fleet.VirtualHost{
		Listen: []fleet.Listen{{Port: 80}}, ServerNames: []string{"h"},
		Locations: []fleet.Location{{Path: path, Match: "exact", Headers: map[string]string{"X": value}, Return: &fleet.Return{Code: 200, Text: text}}},
	})}
}

// shape is the names of the directives when the values are harmless.
func shape(t testing.TB, path, text, value string) []string {
	b, err := nginx.RenderUnvalidated("127.0.0.1", fuzzed(path, text, value))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range tokenise(t, string(content(b, "http.d/virtualhost-h.conf"))) {
		names = append(names, d[0])
	}
	return names
}

func content(b nginx.Bundle, path string) []byte {
	for _, f := range b.Files {
		if f.Path == path {
			return f.Content
		}
	}
	return nil
}

// back undoes what stands for a dollar sign; any other one would be expanded.
func back(s string) string {
	const dollar = "${fairlead_dollar}"
	if i := strings.Index(strings.ReplaceAll(s, dollar, ""), "$"); i >= 0 {
		return fmt.Sprintf("a variable in %q", s)
	}
	return strings.ReplaceAll(s, dollar, "$")
}

// tokenise reads a configuration file as ngx_conf_read_token does. Each
// directive is its words; "}" stands alone.
func tokenise(t testing.TB, text string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	inWord := false
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	finish := func(extra ...string) {
		end()
		if words = append(words, extra...); len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '#' && !inWord:
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"' && !inWord:
			start := i
			for i++; ; i++ {
				if i >= len(text) {
					t.Fatalf("a quote does not end in %q", text)
				}
				if text[i] == '"' {
					break
				}
				if text[i] == '\\' && i+1 < len(text) {
					i++
					if e := strings.IndexByte(`"'\trn`, text[i]); e >= 0 {
						word.WriteByte("\"'\\\t\r\n"[e])
						continue
					}
					word.WriteByte('\\')
				}
				word.WriteByte(text[i])
			}
			if i-start > 4000 {
				t.Fatalf("a parameter of %d bytes does not fit into nginx's buffer", i-start)
			}
			inWord = true
			end()
		case c == ';' || c == '{':
			finish()
		case c == '}':
			finish("}")
		case strings.IndexByte(" \t\r\n", c) >= 0:
			end()
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	finish()
	return all
}
