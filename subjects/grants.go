package subjects

import (
	"slices"
	"strings"
)

// Permissions are what a user may publish and subscribe, as allow-lists.
type Permissions struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// nameTemplate is expanded by nats-server to the user's name when a user's
// JWT was signed by a scoped key. Names are held to the node grammar, since a
// user called `*` would defeat it.
const nameTemplate = "{{name()}}"

// Grant is a role's permissions, from the table. methods are those that the
// role may send; the admin and the station may send every one.
func Grant(role Role, methods []string) Permissions {
	if role == Admin || role == Station {
		methods = []string{"*"}
	}
	var p Permissions
	for _, row := range Table() {
		if slices.Contains(row.Publishes, role) {
			p.Publish = append(p.Publish, expand(row.Subject, role, methods)...)
		}
		if slices.Contains(row.Subscribes, role) {
			p.Subscribe = append(p.Subscribe, expand(row.Subject, role, methods)...)
		}
	}
	slices.Sort(p.Publish)
	slices.Sort(p.Subscribe)
	return p
}

func expand(subject string, role Role, methods []string) []string {
	node := "*"
	if role == Node || role == Renew || role == Join {
		node = nameTemplate
	}
	subject = strings.NewReplacer("<node>", node, "<user>", nameTemplate).Replace(subject)
	if !strings.Contains(subject, "<sent>") {
		return []string{subject}
	}
	var each []string
	for _, m := range methods {
		each = append(each, strings.ReplaceAll(subject, "<sent>", m))
	}
	return each
}
