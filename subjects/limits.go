package subjects

import (
	"slices"
	"strings"
)

// Limits narrow a role for one user: to some methods, to some nodes, or both.
type Limits struct {
	Methods []string // those that the user may send; empty is all of the role's
	Nodes   []string // those that it may send them to; empty is every node
}

// None reports whether nothing is limited.
func (l Limits) None() bool { return len(l.Methods) == 0 && len(l.Nodes) == 0 }

// sentTo is the storage subject of a command in the table.
const sentTo = prefix + ".<node>.command.<sent>.*.*"

// GrantLimited is the grant of a user who is limited: what the role may read,
// and commands of the methods to the nodes. methods are all that the role may
// send.
//
// What lies in buckets concerns nodes that nobody named: a resource chooses them
// by itself, and ends as nginxconfig on them. So who is limited writes into none,
// but who may send nginxconfig to every node may write resources, and who may push
// files may store them: by themselves they go nowhere.
func GrantLimited(role Role, methods []string, l Limits) Permissions {
	p := Grant(role, nil)
	configures := len(l.Nodes) == 0 && slices.Contains(l.Methods, MethodConfig)
	pushes := len(l.Methods) == 0 || slices.Contains(l.Methods, MethodPush)
	p.Publish = slices.DeleteFunc(p.Publish, func(subject string) bool {
		may := configures && chooses(subject) || pushes && strings.HasPrefix(subject, KeySubject(Blobs, ""))
		return strings.HasPrefix(subject, anyKey) && !may
	})
	if len(l.Methods) > 0 {
		methods = l.Methods
	}
	nodes := l.Nodes
	if len(nodes) == 0 {
		nodes = []string{"*"}
	}
	for _, node := range nodes {
		for _, method := range methods {
			p.Publish = append(p.Publish, strings.NewReplacer("<node>", node, "<sent>", method).Replace(sentTo))
		}
	}
	slices.Sort(p.Publish)
	return p
}

// anyKey begins the subjects of all buckets.
const anyKey = "$KV."

// chooses tells the writes of resources, and of what spreads them.
func chooses(subject string) bool {
	return strings.HasPrefix(subject, KeySubject(Fleet, "")) || strings.HasPrefix(subject, KeySubject(Rollouts, ""))
}

// LimitsOf is the inverse of GrantLimited: the methods and nodes of the
// commands that somebody may send.
func LimitsOf(p Permissions) (l Limits) {
	for _, subject := range p.Publish {
		t := strings.Split(subject, ".")
		if len(t) != 6 || t[0] != prefix || t[2] != string(Command) {
			continue
		}
		if t[1] != "*" && !slices.Contains(l.Nodes, t[1]) {
			l.Nodes = append(l.Nodes, t[1])
		}
		if t[3] != "*" && !slices.Contains(l.Methods, t[3]) {
			l.Methods = append(l.Methods, t[3])
		}
	}
	slices.Sort(l.Nodes)
	slices.Sort(l.Methods)
	return l
}
