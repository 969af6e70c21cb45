package client

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
)

// Group are nodes on which commands ended, or stand, alike.
type Group struct {
	State   message.State `json:"state"`
	Kind    fleet.Kind    `json:"kind,omitempty"`
	Message string        `json:"message,omitempty"` // … stands for what differs from node to node
	Nodes   []string      `json:"nodes"`
}

// Groups puts equal outcomes together, the largest group first. Messages are
// equal when they differ in what differs by nature: the node's name, addresses,
// times, digests and ids.
func Groups(outcomes []Outcome) []Group {
	type key struct {
		state   message.State
		kind    fleet.Kind
		message string
	}
	at := make(map[key]int)
	var groups []Group
	for _, o := range outcomes {
		text := strings.TrimSpace(o.Answer.Message)
		k := key{o.State, o.Answer.Kind, alike(text, o.Node)}
		i, known := at[k]
		if !known {
			i = len(groups)
			at[k] = i
			groups = append(groups, Group{State: o.State, Kind: o.Answer.Kind, Message: text})
		}
		g := &groups[i]
		g.Nodes = append(g.Nodes, o.Node)
		if text != g.Message {
			g.Message = k.message
		}
	}
	for _, g := range groups {
		slices.Sort(g.Nodes)
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(len(b.Nodes), len(a.Nodes)) })
	return groups
}

// varies is what differs from node to node by nature.
var varies = regexp.MustCompile(strings.Join([]string{
	`\b\d{4}[/-]\d\d[/-]\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`, // times
	`\b\d+#\d+:( \*\d+)?`,                     // nginx's process, thread and connection
	`\b\d+(\.\d+)?(ns|µs|ms|s|m\d+s|h\d+m)\b`, // durations
	`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b`,        // IPv4
	`\[[0-9a-fA-F:]*:[0-9a-fA-F:]*\](:\d+)?`,  // IPv6
	`\b[0-9A-HJKMNP-TV-Z]{26}\b`,              // ids
	`\b[0-9a-f]{12,64}\b`,                     // digests
	`\b(revision|pid|process) \d+\b`,
}, "|"))

// alike is a message without what varies.
func alike(text, node string) string {
	text = varies.ReplaceAllStringFunc(text, func(found string) string {
		if word, _, ok := strings.Cut(found, " "); ok && word[0] >= 'a' && word[0] <= 'z' {
			return word + " …"
		}
		return "…"
	})
	return without(text, node)
}

// without puts … in the place of a name, where it stands as a word.
func without(text, name string) string {
	for from := 0; name != ""; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			break
		}
		i += from
		end := i + len(name)
		if i > 0 && isWord(text[i-1]) || end < len(text) && isWord(text[end]) {
			from = end
			continue
		}
		text = text[:i] + "…" + text[end:]
		from = i + len("…")
	}
	return text
}

func isWord(c byte) bool {
	return c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
