package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parse reads one document. The node is nil where the document is empty.
// Lines of nodes count from the document's beginning, the line of a problem
// from the file's.
func parse(p part) (node *yaml.Node, line int, problem string) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(p.text), &document); err != nil {
		line, problem := syntaxProblem(p.text, err)
		return nil, p.line - 1 + line, problem
	}
	if len(document.Content) == 0 {
		return nil, 0, ""
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, 0, ""
	}
	return root, 0, ""
}

// errorLine takes the text of yaml's syntax errors apart, which are not typed.
// Where the line is missing yaml means the first.
var errorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// unknownAnchor is the one error that yaml gives without its line.
var unknownAnchor = regexp.MustCompile(`unknown anchor '([^']+)'`)

// syntaxProblem is a syntax error for people, and its line in text. The
// commonest one by far is a tab, which yaml describes in many ways.
func syntaxProblem(text string, err error) (line int, problem string) {
	message := err.Error()
	line = 1
	if m := errorLine.FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		line = 1 + strings.Count(text[:max(0, strings.Index(text, "*"+m[1]))], "\n")
		return line, fmt.Sprintf("uses *%s, but nothing before it in this document is marked &%s", m[1], m[1])
	}
	lines := strings.Split(text, "\n")
	for n := max(1, line-1); n <= min(line+1, len(lines)); n++ {
		if l := lines[n-1]; strings.HasPrefix(strings.TrimLeft(l, " "), "\t") {
			return n, "is indented with a tab: YAML wants spaces"
		}
	}
	return min(line, len(lines)), fmt.Sprintf("is not YAML: %s", message)
}
