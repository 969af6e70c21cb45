package fleet_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
)

var update = flag.Bool("update", false, "rewrite golden files and generated docs")

const (
	pages    = "../../docs/resources"
	examples = "../../examples/resources"
)

// Each kind has a page: its doc comments as tables, then its example. What
// stands between the generated sections is written by hand and stays.
func TestEveryKindHasAPageFromItsTypesAndItsExample(t *testing.T) {
	structs := parseStructs(t)
	for _, kind := range fleet.Kinds() {
		file := filepath.Join(pages, strings.ToLower(kind)+".md")
		data, err := os.ReadFile(file)
		if err != nil && !*update {
			t.Errorf("%s has no page: %v (go test ./pkg/fleet -run EveryKindHasAPage -args -update writes one)", kind, err)
			continue
		}
		if err != nil {
			data = []byte(newPage(kind))
		}
		example, err := os.ReadFile(filepath.Join(examples, strings.ToLower(kind)+".yaml"))
		if err != nil {
			t.Errorf("%s has no example: %v", kind, err)
			continue
		}
		got := section(t, kind, string(data), "fields", fieldTables(t, structs, kind))
		got = section(t, kind, got, "example", "```yaml\n"+string(example)+"```\n")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got != string(data) {
			t.Errorf("%s is older than the types or the example: run go test ./pkg/fleet -run EveryKindHasAPage -args -update", file)
		}
	}
}

func TestEveryResourcePageIsOfAKindAndLinked(t *testing.T) {
	overview, err := os.ReadFile(pages + ".md")
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(pages + "/*.md")
	if err != nil || len(found) != len(fleet.Kinds()) {
		t.Errorf("there are pages %v for kinds %v: %v", found, fleet.Kinds(), err)
	}
	for _, kind := range fleet.Kinds() {
		if link := fmt.Sprintf("[%s](resources/%s.md)", kind, strings.ToLower(kind)); !strings.Contains(string(overview), link) {
			t.Errorf("docs/resources.md lacks %s", link)
		}
	}
}

func newPage(kind string) string {
	return "# " + kind + "\n\n<!-- fields: written from the doc comments in pkg/fleet -->\n<!-- end -->\n\n## Example\n\n" +
		"<!-- example: written from examples/resources -->\n<!-- end -->\n"
}

// section replaces what stands between `<!-- NAME` and `<!-- end -->`.
func section(t *testing.T, kind, page, name, text string) string {
	t.Helper()
	marker := regexp.MustCompile(`(?s)(<!-- ` + name + `:[^\n]*-->\n).*?(<!-- end -->)`)
	at := marker.FindStringSubmatchIndex(page)
	if at == nil {
		t.Errorf("the page of %s has no section %s", kind, name)
		return page
	}
	return page[:at[3]] + "\n" + strings.TrimRight(text, "\n") + "\n\n" + page[at[4]:]
}

// parseStructs is all types of the package by name.
func parseStructs(t *testing.T) map[string]*ast.TypeSpec {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.TypeSpec{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE && len(d.Specs) == 1 {
				spec := d.Specs[0].(*ast.TypeSpec)
				spec.Doc = d.Doc
				if _, ok := spec.Type.(*ast.StructType); ok {
					structs[spec.Name.Name] = spec
				}
			}
		}
	}
	return structs
}

// fieldTables describes a struct and then each struct inside it, once, under
// all the paths where it may stand.
func fieldTables(t *testing.T, structs map[string]*ast.TypeSpec, kind string) string {
	t.Helper()
	order, paths := []string{kind}, map[string][]string{kind: {"spec"}}
	for i := 0; i < len(order); i++ {
		for _, f := range structs[order[i]].Type.(*ast.StructType).Fields.List {
			_, element, suffix := typeWords(f.Type)
			if structs[element] == nil {
				continue
			}
			if paths[element] == nil {
				order = append(order, element)
			}
			paths[element] = append(paths[element], paths[order[i]][0]+"."+fieldName(f)+suffix)
		}
	}
	var out strings.Builder
	for _, name := range order {
		var heads []string
		for _, path := range slices.Compact(paths[name]) {
			heads = append(heads, "`"+path+".`")
		}
		fmt.Fprintf(&out, "%s\n\n| %s | type | |\n|---|---|---|\n", oneLine(structs[name].Doc), strings.Join(heads, ", "))
		for _, f := range structs[name].Type.(*ast.StructType).Fields.List {
			out.WriteString(row(t, name, f))
		}
		out.WriteString("\n")
	}
	return out.String()
}

func row(t *testing.T, name string, f *ast.Field) string {
	text := oneLine(f.Doc)
	if text == "" {
		text = oneLine(f.Comment)
	}
	if text == "" {
		t.Errorf("%s.%s has no comment", name, fieldName(f))
	}
	required := "required; "
	if _, optional, _ := strings.Cut(jsonTag(f), ","); optional != "" {
		required = ""
	}
	words, _, _ := typeWords(f.Type)
	return fmt.Sprintf("| `%s` | %s | %s%s |\n", fieldName(f), words, required, text)
}

func jsonTag(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	return reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
}

func fieldName(f *ast.Field) string {
	name, _, _ := strings.Cut(jsonTag(f), ",")
	return name
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
		words, element, _ = typeWords(e.Value)
		return "map of " + words, element, ".NAME"
	case *ast.Ident:
		if words, found := map[string]string{"string": "text", "int": "number", "int64": "number", "float64": "number", "bool": "boolean"}[e.Name]; found {
			return words, "", ""
		}
		return "fields", e.Name, ""
	}
	return "?", "", ""
}

func oneLine(c *ast.CommentGroup) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(c.Text()), " "), "|", `\|`)
}
