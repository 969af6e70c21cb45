package message_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

var update = flag.Bool("update", false, "rewrite golden files")

// kinds are all constants of type fleet.Kind, from the source.
func kinds(t *testing.T) []fleet.Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../fleet/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []fleet.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Kind" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fleet.Kind(text))
		}
		return true
	})
	if len(all) < 13 {
		t.Fatalf("found only the kinds %v", all)
	}
	return all
}

// The golden file is the table for people: what each kind of error means to
// the sender, to a script and to a web client.
func TestEveryKindIsSettledAsTheTableSays(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s  %-10s  %4s  %4s\n", "kind", "answer", "exit", "http")
	line := func(name string, s message.Settlement) {
		fmt.Fprintf(&b, "%-12s  %-10s  %4d  %4d\n", name, s.State, s.Exit, s.HTTP)
	}
	line("(none)", message.Settle(nil))
	internal := message.Settle(errors.New("without a kind"))
	for _, k := range kinds(t) {
		s := message.Settle(fleet.Errorf(k, "x"))
		if s == internal && k != fleet.Internal && k != fleet.Interrupted {
			t.Errorf("%s is not in the table", k)
		}
		if !s.State.Final() {
			t.Errorf("%s ends in %s, which is no end", k, s.State)
		}
		line(string(k), s)
	}
	const golden = "testdata/settlements.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is not as it was; run with -update and review the difference:\n%s", golden, &b)
	}
}

func TestAnErrorIsSettledByItsOutermostKind(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want message.State
	}{
		"wrapped":        {fmt.Errorf("revision 7: %w", fleet.Errorf(fleet.Busy, "full")), message.Rejected},
		"twice":          {fleet.Errorf(fleet.Failed, "x: %w", fleet.Errorf(fleet.Refused, "y")), message.FailedEnd},
		"faults":         {fleet.Faults{{Message: "x"}}, message.Rejected},
		"without a kind": {errors.New("x"), message.FailedEnd},
		"unheard of":     {fleet.Errorf("novel", "x"), message.FailedEnd},
		"none":           {nil, message.Succeeded},
	} {
		if got := message.Settle(test.err).State; got != test.want {
			t.Errorf("%s is %s, want %s", name, got, test.want)
		}
	}
}

func TestTheExitCodeOfAState(t *testing.T) {
	want := map[message.State]int{
		message.Published: message.ExitPending, message.Accepted: message.ExitPending, message.Running: message.ExitPending,
		message.Succeeded: message.ExitOK, message.Superseded: message.ExitOK,
		message.FailedEnd: message.ExitFailed, message.Expired: message.ExitFailed, message.Cancelled: message.ExitFailed,
		message.Rejected: message.ExitRefused, "unheard of": message.ExitPending, // unknown is never shown as good
	}
	for s, exit := range want {
		if got := message.ExitOf(s, ""); got != exit {
			t.Errorf("%s exits with %d, want %d", s, got, exit)
		}
	}
}

// What a paused node refuses it does by itself later: that is neither refused
// nor good yet.
func TestOnlyAPauseMakesARefusalPending(t *testing.T) {
	for _, k := range kinds(t) {
		want := message.ExitRefused
		if k == fleet.Paused {
			want = message.ExitPending
		}
		if got := message.ExitOf(message.Rejected, k); got != want {
			t.Errorf("rejected as %s exits with %d, want %d", k, got, want)
		}
		if got := message.ExitOf(message.FailedEnd, k); got != message.ExitFailed {
			t.Errorf("failed as %s exits with %d", k, got)
		}
	}
}
