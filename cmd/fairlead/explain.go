package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fairlead/docs/resources"
	"fairlead/pkg/fleet"
)

func newExplain(a *app) *cobra.Command {
	var example bool
	c := &cobra.Command{
		Use:   "explain [KIND[.FIELD…]]",
		Short: "tell what a kind of resource is and which fields it has, with an example",
		Long: `Prints the kinds of resource, or the fields of one with their types and what they mean, or those within a field. It asks nobody:
all of it is in this program, and the same as in docs/resources.`,
		Example: `  fairlead explain
  fairlead explain VirtualHost
  fairlead explain VirtualHost.locations.proxy
  fairlead explain VirtualHost --example`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeExplain,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && example:
				return usagef("--example goes with KIND")
			case len(args) == 0:
				return a.explainKinds()
			}
			word, path, _ := strings.Cut(args[0], ".")
			kind, _, err := kindAndName([]string{word})
			if err != nil {
				return err
			}
			page, err := readKindPage(kind)
			switch {
			case err != nil:
				return err
			case example:
				_, err = fmt.Fprint(a.stdout, page.Example)
				return err
			}
			return a.explainField(page, path)
		},
	}
	c.Flags().BoolVar(&example, "example", false, "print a resource of this kind that may be applied, with comments")
	return c
}

// kindPage is what docs/resources says of a kind.
type kindPage struct {
	Kind, About, Example string
	tables               []fieldTable
}

// fieldTable is the fields within some paths, such as "spec" or "spec.locations.proxy".
type fieldTable struct {
	paths  []string
	about  string
	fields []explained
}

// explained is a field as it is told.
type explained struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Text string `json:"text"`
}

// tableHead begins a table: "| `spec.access[].`, `spec.locations[].access[].` | type | |".
var tableHead = regexp.MustCompile("^\\| (`spec\\..*`) \\| type \\| \\|$")

func readKindPage(kind string) (kindPage, error) {
	text, err := resources.Pages.ReadFile(strings.ToLower(kind) + ".md")
	if err != nil {
		return kindPage{}, fleet.Errorf(fleet.Internal, "what %s is: %w", kind, err)
	}
	page := kindPage{Kind: kind}
	_, fields, _ := strings.Cut(string(text), "<!-- fields:")
	fields, rest, _ := strings.Cut(fields, "<!-- end -->")
	_, page.Example, _ = strings.Cut(rest, "```yaml\n")
	page.Example, _, _ = strings.Cut(page.Example, "```")
	about := ""
	for line := range strings.Lines(fields) {
		line = strings.TrimSpace(line)
		if m := tableHead.FindStringSubmatch(line); m != nil {
			t := fieldTable{about: about}
			for path := range strings.SplitSeq(m[1], ", ") {
				t.paths = append(t.paths, plainPath(path))
			}
			page.tables = append(page.tables, t)
			continue
		}
		row, isRow := strings.CutPrefix(line, "| `")
		switch columns := strings.SplitN(strings.TrimSuffix(row, " |"), " | ", 3); {
		case isRow && len(columns) > 1 && len(page.tables) > 0:
			t := &page.tables[len(page.tables)-1]
			told := strings.Join(columns[2:], "")
			t.fields = append(t.fields, explained{strings.TrimSuffix(columns[0], "`"), columns[1], strings.ReplaceAll(told, `\|`, "|")})
		case line != "" && !strings.HasPrefix(line, "|") && !strings.HasSuffix(line, "-->"):
			about = line
		}
	}
	if len(page.tables) > 0 {
		page.About = page.tables[0].about
	}
	return page, nil
}

// plainPath is "spec.locations.proxy" of `spec.locations[].proxy.`, or of what people
// write for it.
func plainPath(path string) string {
	path = strings.Trim(strings.ReplaceAll(strings.Trim(path, "`"), "[]", ""), ".")
	if path != "spec" && !strings.HasPrefix(path, "spec.") {
		path = strings.TrimSuffix("spec."+path, ".")
	}
	return path
}

// at are the fields within a path, or the one that it names, with what they are about.
func (p kindPage) at(path string) (about string, fields []explained, err error) {
	path = plainPath(path)
	for _, t := range p.tables { // what is in several places is told in the first
		for _, other := range t.paths[1:] {
			if within, ok := strings.CutPrefix(path, other+"."); ok {
				path = t.paths[0] + "." + within
			}
		}
	}
	var known []string
	for _, t := range p.tables {
		if slices.Contains(t.paths, path) {
			return t.about, t.fields, nil
		}
		for _, at := range t.paths {
			for _, f := range t.fields {
				if at+"."+f.Name == path {
					about, fields = "", []explained{f}
				}
				known = append(known, at+"."+f.Name)
			}
		}
	}
	if fields != nil {
		return about, fields, nil
	}
	hint := ""
	if near := fleet.Nearest(path, known); near != "" {
		hint = fmt.Sprintf("did you mean %s? ", strings.TrimPrefix(near, "spec."))
	}
	return "", nil, fleet.Errorf(fleet.Unknown, "%s has no field %s: %s`fairlead explain %[1]s` lists them", p.Kind, strings.TrimPrefix(path, "spec."), hint)
}

func (a *app) explainKinds() error {
	type kind struct {
		Kind string `json:"kind"`
		Text string `json:"text"`
	}
	var all []kind
	for _, k := range fleet.Kinds() {
		page, err := readKindPage(k)
		if err != nil {
			return err
		}
		all = append(all, kind{k, page.About})
	}
	return a.print(all, func(t *table) {
		t.cut = true
		t.row("KIND", "WHAT")
		for _, k := range all {
			t.row(k.Kind, k.Text)
		}
		a.say("`fairlead explain KIND` has its fields")
	}, fleet.Kinds)
}

func (a *app) explainField(page kindPage, path string) error {
	about, fields, err := page.at(path)
	if err != nil {
		return err
	}
	return a.print(fields, func(*table) {
		if about != "" {
			fmt.Fprintf(a.stdout, "%s\n\n", about)
		}
		if path == "" {
			fmt.Fprintf(a.stdout, "apiVersion: fairlead/v1\nkind: %s\nmetadata: {name: …}\nspec:\n", page.Kind)
		}
		within := false
		for _, f := range fields {
			within = within || strings.HasSuffix(f.Type, "fields")
			fmt.Fprintf(a.stdout, "  %s  %s\n      %s\n", a.paint(green, f.Name), a.paint(dim, f.Type), f.Text)
		}
		if within && about != "" {
			a.say("`fairlead explain %s` has what is within a field, and --example a whole resource", strings.TrimSuffix(page.Kind+"."+path, ".")+".FIELD")
		}
	}, func() (names []string) {
		for _, f := range fields {
			names = append(names, f.Name)
		}
		return names
	})
}

// completeExplain knows the kinds, and the fields that have fields within.
func completeExplain(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	kind, _, dot := strings.Cut(typed, ".")
	if !dot || !slices.Contains(fleet.Kinds(), kind) {
		return fleet.Kinds(), cobra.ShellCompDirectiveNoFileComp
	}
	page, err := readKindPage(kind)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var known []string
	for _, t := range page.tables {
		for _, path := range t.paths {
			known = append(known, kind+strings.TrimPrefix(path, "spec"))
		}
	}
	return known, cobra.ShellCompDirectiveNoFileComp
}
