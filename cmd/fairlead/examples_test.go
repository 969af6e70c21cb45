package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk calls f for every command that help shows.
func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			walk(sub, f)
		}
	}
}

func TestEveryCommandIsExplained(t *testing.T) {
	walk(newRoot(newApp()), func(c *cobra.Command) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Short != strings.ToLower(c.Short[:1])+c.Short[1:] {
				t.Errorf("its summary is %q: a few words, small, without a full stop", c.Short)
			}
			if c.Example == "" {
				t.Fatal("it has no example")
			}
			if c.HasParent() && c.Parent() == c.Root() && c.GroupID == "" {
				t.Error("it is in no group")
			}
			for line := range strings.Lines(c.Example) {
				if !strings.HasPrefix(line, "  ") || !strings.Contains(line, c.CommandPath()) {
					t.Errorf("the example %q does not begin with two spaces or shows another command", line)
				}
				if err := parses(c, exampleArgs(t, line)); err != nil {
					t.Errorf("the example %q: %v", strings.TrimSpace(line), err)
				}
			}
		})
	})
}

// exampleArgs are the arguments of the fairlead in an example's line.
func exampleArgs(t *testing.T, line string) []string {
	t.Helper()
	_, line, ok := strings.Cut(strings.TrimSpace(line), "fairlead")
	if !ok {
		t.Fatalf("%q runs no fairlead", line)
	}
	var args []string
	var word strings.Builder
	quoted, begun := false, false
	for _, r := range strings.TrimSuffix(line, ")") {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				args = append(args, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		args = append(args, word.String())
	}
	return args
}

// parses reports whether want takes the arguments, without running it.
func parses(want *cobra.Command, args []string) error {
	c, rest, err := newRoot(newApp()).Find(args)
	if err != nil {
		return err
	}
	if want.HasParent() && c.CommandPath() != want.CommandPath() && c.Parent().CommandPath() != want.CommandPath() {
		return fmt.Errorf("it is one of `%s`", c.CommandPath())
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// harmless are the examples that run against the shared fleet, with the exit
// code that they have there. The others start daemons, follow, or change what
// tests beside this one look at.
var harmless = map[string]int{
	"fairlead audit":                                                              0,
	"fairlead audit --node node1 --since 7d":                                      0,
	"fairlead audit --by alice --since 7d":                                        4,
	"fairlead audit --id 01KAM3S2Y1C6Q8Z5V7W9X0ABCD":                              4,
	"fairlead audit --replay --json":                                              0,
	"fairlead audit --replay":                                                     0,
	"fairlead apply -f examples/hello --wait":                                     0,
	"fairlead apply -f site.yaml --dry-run":                                       0,
	"cat site.yaml | fairlead apply -f -":                                         0,
	"fairlead cancel 01KAM3S2Y1C6Q8Z5V7W9X0ABCD":                                  4,
	"fairlead context ls":                                                         0,
	"fairlead context select fairlead-dev":                                        0,
	"fairlead delete -f examples/proxy --wait":                                    0,
	"fairlead delete -f site.yaml --dry-run":                                      0,
	"fairlead delete VirtualHost old-shop --message 'the shop has closed' --wait": 4,
	"fairlead diff -f examples/proxy":                                             0,
	"fairlead get":                                                                0,
	"fairlead get VirtualHost":                                                    0,
	"fairlead get VirtualHost hello -o yaml":                                      0,
	"fairlead history VirtualHost/hello":                                          0,
	"fairlead history VirtualHost hello -o wide":                                  0,
	"fairlead history node1":                                                      0,
	"fairlead apply -f site.yaml --dry-run=nodes --limit 10%":                     0,
	"fairlead ping node1":                                                         0,
	"fairlead ping -l role=edge":                                                  0,
	"fairlead ping --all --wait 10s --json":                                       0,
	"fairlead health node1":                                                       0,
	"fairlead health -l role=edge --json":                                         0,
	"fairlead help apply":                                                         0,
	"fairlead help context add":                                                   0,
	"fairlead logs node1":                                                         0,
	"fairlead logs node1 --since 7d --json":                                       0,
	"fairlead nodes":                                                              0,
	"fairlead nodes -l 'role=edge,region!=eu'":                                    0,
	"fairlead nodes -o name":                                                      0,
	"fairlead nodes --field 'presence=offline,seen>1d'":                           4,
	"fairlead status --field 'sync!=in sync,presence=online'":                     4,
	"fairlead publish node1.command.reload.nginx --wait":                          0,
	"fairlead publish -f examples/messages/first-look.yaml --wait":                0,
	"fairlead publish node1.command.shellcommand.operatingsystem --data '{\"argv\":[\"uname\",\"-a\"]}' --wait": 0,
	"fairlead push examples/hello/hello.yaml node1:hello.yaml":                                                  0,
	"fairlead reload node1":                     0,
	"fairlead reload -l region=eu --timeout 2m": 4,
	"fairlead shell node1 -- uname -a":          0,
	"fairlead shell -l role=edge -- df -h /":    0,
	"fairlead status":                           0,
	"fairlead status node1":                     0,
	"fairlead status -l region=eu --json":       4,
	"fairlead version --json":                   0,
	"fairlead why node1":                        0,
	"fairlead why node1 --json":                 0,
	"source <(fairlead completion bash)":        0,
	"fairlead completion bash":                  0,
	"fairlead completion fish":                  0,
	"fairlead completion powershell":            0,
	"fairlead completion zsh":                   0,
}

func TestExamplesRun(t *testing.T) {
	f := fleetOfTwo(t)
	site, err := os.ReadFile(filepath.Join(repository(t), "examples/hello/hello.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), site, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(repository(t), "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	// logs must have something to show.
	if _, err := get(f.site()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		p := start(t, f.env(), "logs", "node1")
		if code, err := p.wait(); code != 0 || err != nil {
			return fmt.Errorf("no log lines yet (%v)", err)
		}
		return nil
	})
	seen := make(map[string]bool)
	walk(newRoot(newApp()), func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			want, ok := harmless[line]
			if !ok || seen[line] {
				continue
			}
			seen[line] = true
			t.Run(line, func(t *testing.T) {
				p := startCommand(t, shellCommand(dir, f.env(), line))
				p.ends(t, nil, want)
			})
		}
	})
	for line := range harmless {
		if !seen[line] {
			t.Errorf("no command has the example %q any more", line)
		}
	}
}
