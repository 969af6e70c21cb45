package handlers_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"fairlead/handlers"
	"fairlead/handlers/handlerstest"
)

var update = flag.Bool("update", false, "rewrite golden files and generated docs")

// golden compares a file with what it should be, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as it was: run go test ./handlers -update and review the difference\n%s", path, got)
	}
}

func TestTheProductsHandlersConform(t *testing.T) { handlerstest.Run(t, handlers.All()) }

func TestTheTableOfMethodsIsAsItWas(t *testing.T) {
	var b strings.Builder
	const row = "%-18s %-8s %-7s %-6s %-8s %-9s %-9s %s\n"
	fmt.Fprintf(&b, row, "method", "lane", "latest", "once", "durable", "timeout", "role", "domain")
	mark := func(is bool) string {
		if is {
			return "yes"
		}
		return "-"
	}
	for _, h := range handlers.All().Handlers() {
		domain := h.Domain
		if h.AnyDomain {
			domain = "any"
		}
		fmt.Fprintf(&b, row, h.Method, cmp.Or(h.Lane, "-"), mark(h.Latest), mark(h.Once), mark(h.Durable), h.Timeout, h.Role, domain)
	}
	golden(t, "testdata/methods.txt", b.String())
}

// A file that is named for its method is all that there is to look for.
func TestEveryMethodHasItsOwnFile(t *testing.T) {
	for _, method := range handlers.All().Methods() {
		text, err := os.ReadFile(method + ".go")
		if err != nil || !strings.Contains(string(text), "= define(Definition[") {
			t.Errorf("%s is not defined in %s.go: %v", method, method, err)
		}
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	defined := 0
	for _, f := range files {
		if text, err := os.ReadFile(f.Name()); err == nil && !strings.HasSuffix(f.Name(), "_test.go") {
			defined += strings.Count(string(text), "= define(Definition[")
		}
	}
	if have := len(handlers.All().Methods()); defined != have {
		t.Errorf("%d definitions make %d methods: two share a name", defined, have)
	}
}
