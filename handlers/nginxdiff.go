package handlers

import (
	"context"
	"fmt"
	"strings"

	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// MethodNginxDiff is the method of nginxdiff, which the command line names too.
const MethodNginxDiff = "nginxdiff"

// NginxDiffBody says what to compare.
type NginxDiffBody struct {
	// Healed asks for what was changed before it was healed last, instead of
	// what differs now.
	Healed bool `json:"healed,omitempty"`
}

var _ = define(Definition[NginxDiffBody]{
	Method:  MethodNginxDiff,
	Summary: "show what was changed by hand in nginx's configuration",
	Details: "Compares each file of the revision that serves, and the link that nginx loads, with what Fairlead put there. " +
		"It changes nothing. Keys and lists of passwords are named and never shown; what is too long is cut and says so.",
	Role:    subjects.Operator,
	Domain:  "nginx",
	Returns: nginx.Changes{},
	Example: NginxDiffBody{Healed: true},
	Handle: func(ctx context.Context, n *Node, c Command[NginxDiffBody]) (Result, error) {
		changes, err := n.Nginx.Changes(ctx, c.Body.Healed)
		if err != nil {
			return Result{}, err
		}
		message := fmt.Sprintf("%d files differ from what Fairlead put there", len(changes.Files))
		switch len(changes.Files) {
		case 0:
			message = "nothing differs from what Fairlead put there"
		case 1:
			message = "1 file differs from what Fairlead put there"
		}
		return Result{Message: message, Data: changes}, nil
	},
})

// line makes one line of a text.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }
