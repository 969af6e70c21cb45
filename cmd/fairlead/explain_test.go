package main

import (
	"strings"
	"testing"

	"fairlead/docs/resources"
	"fairlead/pkg/fleet"
)

// Else explain would keep to itself what the pages say.
func TestExplainHasEveryFieldOfEveryPage(t *testing.T) {
	for _, kind := range fleet.Kinds() {
		text, err := resources.Pages.ReadFile(strings.ToLower(kind) + ".md")
		if err != nil {
			t.Fatal(err)
		}
		fields, _, _ := strings.Cut(string(text), "<!-- end -->")
		rows := strings.Count(fields, "\n| `") - strings.Count(fields, "| type | |\n")
		page, err := readKindPage(kind)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, table := range page.tables {
			told += len(table.fields)
			for _, f := range table.fields {
				if f.Name == "" || f.Type == "" || f.Text == "" {
					t.Errorf("%s %v: %+v is not whole", kind, table.paths, f)
				}
				if !strings.HasSuffix(f.Type, "fields") {
					continue
				}
				for _, path := range table.paths {
					if about, within, err := page.at(path + "." + f.Name); err != nil || about == "" || len(within) == 0 {
						t.Errorf("%s: nothing is told of what is within %s.%s (%v)", kind, path, f.Name, err)
					}
				}
			}
		}
		if told != rows || rows == 0 || page.About == "" || !strings.Contains(page.Example, "kind: "+kind+"\n") {
			t.Errorf("%s: %d of %d fields, about %q, example:\n%s", kind, told, rows, page.About, page.Example)
		}
	}
}
