package fleet

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Variable is a part of a text that differs per node:
// `${node.labels.region}`, `${node.name}`, `${node.address}`,
// `${node.facts.hostname}`. `${node.labels.region|eu}` is eu where the node has no such label, and `$${node.name}` is
// the text `${node.name}`. What has no dot, as `${host}`, is nginx's and stays.
type Variable struct {
	Name     string // "labels.region"
	Default  string
	Optional bool // has a default
}

// String is the variable as it is written.
func (v Variable) String() string {
	if v.Optional {
		return "${node." + v.Name + "|" + v.Default + "}"
	}
	return "${node." + v.Name + "}"
}

// Values are what the variables stand for on one node.
type Values struct {
	Name    string
	Address string // where its hosts listen by default, "" is every address
	Labels  map[string]string
	Facts   *Facts // nil for a node that has not told them yet
}

// safeValue is what a value may hold wherever it comes from: nothing that
// could end a word, a line or a quote in any text.
var safeValue = NewPattern(`^[A-Za-z0-9._:/@+-]{0,253}$`)

// Of is what a variable stands for; problem says why it stands for nothing.
func (v Values) Of(variable Variable) (value, problem string) {
	root, key, _ := strings.Cut(variable.Name, ".")
	found := true
	switch root {
	case "name":
		value = v.Name
	case "address":
		value, found = v.Address, v.Address != ""
		problem = "the node has no address of its own"
	case "labels":
		value, found = v.Labels[key]
		problem = fmt.Sprintf("the node has no label %q", key)
	case "facts":
		problem = "the node has not told its facts yet"
		if v.Facts != nil {
			value, problem = facts[key](v.Facts), fmt.Sprintf("the node has not told its %s", key)
		}
		found = value != ""
	}
	switch {
	case !found && variable.Optional:
		return variable.Default, ""
	case !found:
		return "", problem + fmt.Sprintf(": give it one, or write ${node.%s|…} with a default", variable.Name)
	case !safeValue.MatchString(value):
		what := strings.NewReplacer("labels.", "label ", "facts.", "fact ").Replace(variable.Name)
		return "", fmt.Sprintf("the node's %s is %q: a variable takes at most 253 letters, digits and ._:/@+- alone", what, clip(value))
	}
	return value, ""
}

// reference finds what is a variable or was meant to be one: anything that
// begins with node., and names with a dot, which nginx has none of.
var reference = regexp.MustCompile(`\$?\$\{(node\.[^{}\n]*|[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z0-9_./-]*(\|[^{}\n]*)?)\}`)

// replace is a text with its variables replaced and escaped ones unescaped.
// What is wrong with a variable is told to fault, once for each, and it stays.
func replace(text string, value func(Variable) string, fault func(problem string)) string {
	if !strings.Contains(text, "${") {
		return text
	}
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		variable, problem := parseVariable(found[2 : len(found)-1])
		if problem != "" {
			fault(fmt.Sprintf("%s: %s", clip(found), problem))
			return found
		}
		return value(variable)
	})
}

// parseVariable reads what stands between the braces.
func parseVariable(text string) (v Variable, problem string) {
	name, fallback, optional := strings.Cut(text, "|")
	v = Variable{Name: strings.TrimPrefix(name, "node."), Default: fallback, Optional: optional}
	root, key, deep := strings.Cut(v.Name, ".")
	const roots = "use node.name, node.address, node.labels.KEY or node.facts.KEY"
	switch {
	case !strings.HasPrefix(name, "node."):
		return v, fmt.Sprintf("no such variable: %s, or write $${%s} for this text itself", roots, clip(text))
	case optional && !safeValue.MatchString(fallback):
		return v, "the default holds more than letters, digits and ._:/@+-"
	case root == "labels" && deep:
		if problem := labelKeyProblem(key); problem != "" {
			return v, fmt.Sprintf("label key %q %s", clip(key), problem)
		}
	case root == "facts" && deep:
		if facts[key] == nil {
			return v, fmt.Sprintf("no such fact: use one of %s", strings.Join(slices.Sorted(maps.Keys(facts)), ", "))
		}
	case root == "name" && !deep, root == "address" && !deep:
	default:
		return v, "no such variable: " + roots
	}
	return v, ""
}
