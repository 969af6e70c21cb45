package handlers_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
)

const page = "../docs/handlers.md"

// The page is written by hand up to its marker and from the definitions and
// their doc comments behind it.
func TestTheDocsAreTheDefinitions(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	marker := regexp.MustCompile(`(?s)(<!-- methods[^\n]*-->\n).*?(<!-- end -->)`)
	if !marker.Match(data) {
		t.Fatalf("%s has no marker", page)
	}
	var b strings.Builder
	for _, h := range handlers.All().Handlers() {
		section(t, &b, h)
	}
	got := marker.ReplaceAllStringFunc(string(data), func(old string) string {
		m := marker.FindStringSubmatch(old)
		return m[1] + "\n" + b.String() + m[2]
	})
	golden(t, page, got)
}

func section(t *testing.T, b *strings.Builder, h handlers.Handler) {
	fmt.Fprintf(b, "## %s\n\n%s.\n\n%s\n\n", h.Method, strings.ToUpper(h.Summary[:1])+h.Summary[1:], h.Details)
	domain := "`" + h.Domain + "`"
	if h.AnyDomain {
		domain = "any, such as " + domain
	}
	fmt.Fprintf(b, "- least role: `%s`\n- domain: %s\n- time for one run: %s\n", h.Role, domain, h.Timeout)
	if h.Latest {
		b.WriteString("- of several that wait, only the newest runs; the older ones end superseded\n")
	}
	if h.Once {
		b.WriteString("- never run twice: one that a crash cut off ends failed, kind interrupted\n")
	}
	if h.Stoppable {
		b.WriteString("- a run can be called off, too\n")
	}
	if h.Lane != "" {
		fmt.Fprintf(b, "- one at a time with the others of the lane `%s`\n", h.Lane)
	}
	b.WriteString("\n")
	fields(t, b, "body", "The body is empty.", h.Body)
	fields(t, b, "result", "There is no result beside the message.", h.Returns)
	fmt.Fprintf(b, "```console\nfairlead publish node1.command.%s.%s%s\n```\n\n", h.Method, h.Domain, data(h))
}

func data(h handlers.Handler) string {
	if string(h.Example) == "{}" {
		return ""
	}
	return " --data '" + string(h.Example) + "'"
}

// fields is a table of a struct's fields, those of structs inside it by path.
func fields(t *testing.T, b *strings.Builder, name, empty string, of reflect.Type) {
	list := ""
	for of != nil && of.Kind() == reflect.Slice {
		of, list = of.Elem(), "[]"
	}
	if of == nil || of.NumField() == 0 {
		b.WriteString(empty + "\n\n")
		return
	}
	fmt.Fprintf(b, "| %s | type | |\n|---|---|---|\n", name)
	rows(t, b, list, of)
	b.WriteString("\n")
}

func rows(t *testing.T, b *strings.Builder, path string, of reflect.Type) {
	for f := range of.Fields() {
		field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || field == "-" || field == "" {
			continue
		}
		field = strings.TrimPrefix(path+"."+field, ".")
		text := comment(t, of, f.Name)
		if text == "" && of.PkgPath() == "fairlead/handlers" {
			t.Errorf("%s.%s has no comment", of, f.Name)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", field, words(f.Type), text)
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			rows(t, b, field, f.Type)
		}
	}
}

// words is a type for people.
func words(of reflect.Type) string {
	switch {
	case of == reflect.TypeFor[time.Time]():
		return "time"
	case of == reflect.TypeFor[time.Duration]():
		return "nanoseconds"
	case of.Kind() == reflect.Pointer:
		return words(of.Elem())
	case of.Kind() == reflect.Slice:
		return "list of " + words(of.Elem())
	case of.Kind() == reflect.String:
		return "text"
	case of.Kind() == reflect.Bool:
		return "boolean"
	case of.Kind() == reflect.Struct:
		return "fields"
	}
	return "number"
}

// comments of fields, by directory and then "Type.Field".
var comments = map[string]map[string]string{}

func comment(t *testing.T, of reflect.Type, field string) string {
	dir := filepath.Join("..", strings.TrimPrefix(of.PkgPath(), "fairlead/"))
	if comments[dir] == nil {
		comments[dir] = read(t, dir)
	}
	return comments[dir][of.Name()+"."+field]
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						found[spec.Name.Name+"."+name.Name] = line(f.Doc.Text() + " " + f.Comment.Text())
					}
				}
			}
			return true
		})
	}
	return found
}

func line(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
