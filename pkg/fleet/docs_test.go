package fleet_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

var update = flag.Bool("update", false, "rewrite golden files and generated docs")

const page = "../../docs/resources.md"

// The tables in docs/resources.md are the doc comments of kinds.go.
func TestFieldTablesOfTheDocsAreTheDocComments(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	structs := parseStructs(t)
	marker := regexp.MustCompile(`(?s)(<!-- fields (\w+)[^\n]*-->\n).*?(<!-- end -->)`)
	var documented []string
	got := marker.ReplaceAllStringFunc(string(data), func(section string) string {
		m := marker.FindStringSubmatch(section)
		documented = append(documented, m[2])
		return m[1] + "\n" + fieldTables(t, structs, m[2]) + m[3]
	})
	slices.Sort(documented)
	if !slices.Equal(documented, fleet.Kinds()) {
		t.Errorf("the page has tables for %v, the kinds are %v", documented, fleet.Kinds())
	}
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(data) {
		t.Errorf("%s is older than kinds.go: run go test ./pkg/fleet -update", page)
	}
}

func parseStructs(t *testing.T) map[string]*ast.TypeSpec {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.TypeSpec{}
	for _, decl := range file.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			spec := d.Specs[0].(*ast.TypeSpec)
			spec.Doc = d.Doc
			structs[spec.Name.Name] = spec
		}
	}
	return structs
}

// fieldTables describes a struct and then, by path, each struct inside it.
func fieldTables(t *testing.T, structs map[string]*ast.TypeSpec, kind string) string {
	t.Helper()
	var out strings.Builder
	var table func(name, path string)
	table = func(name, path string) {
		spec := structs[name]
		fmt.Fprintf(&out, "%s\n\n| `%s.` | type | |\n|---|---|---|\n", oneLine(spec.Doc), path)
		type inner struct{ name, path string }
		var below []inner
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
			field, optional, _ := strings.Cut(tag, ",")
			text := oneLine(f.Doc)
			if text == "" {
				text = oneLine(f.Comment)
			}
			if text == "" {
				t.Errorf("%s.%s has no comment", name, f.Names[0].Name)
			}
			required := "required; "
			if optional != "" {
				required = ""
			}
			kind, element, suffix := typeWords(f.Type)
			fmt.Fprintf(&out, "| `%s` | %s | %s%s |\n", field, kind, required, text)
			if structs[element] != nil {
				below = append(below, inner{element, path + "." + field + suffix})
			}
		}
		out.WriteString("\n")
		for _, b := range below {
			table(b.name, b.path)
		}
	}
	table(kind, "spec")
	return out.String()
}

// typeWords is a type for readers, the name of the type inside it, and what a path to it ends in.
func typeWords(e ast.Expr) (words, element, suffix string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		words, element, _ = typeWords(e.X)
		return words, element, ""
	case *ast.ArrayType:
		words, element, _ = typeWords(e.Elt)
		return "list of " + words, element, "[]"
	case *ast.MapType:
		return "map of text", "", ""
	case *ast.Ident:
		if words, found := map[string]string{"string": "text", "int": "number", "bool": "boolean"}[e.Name]; found {
			return words, "", ""
		}
		return "fields", e.Name, ""
	}
	return "?", "", ""
}

func oneLine(c *ast.CommentGroup) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(c.Text()), " "), "|", `\|`)
}
