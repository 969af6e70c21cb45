package fleet

import (
	"slices"
	"strings"
	"time"
)

// LinkClass is what a node's link to the broker is like: it decides how often
// the node says that it lives, where nobody says it otherwise.
type LinkClass struct {
	Name      string
	Heartbeat time.Duration // the longest time between two
}

// Links are the classes of links. A heartbeat takes about 400 bytes on the wire
// with TLS: 2.3 MB, 1.7 MB and 1.2 MB a day.
func Links() []LinkClass {
	return []LinkClass{{"lan", 15 * time.Second}, {DefaultLink, 20 * time.Second}, {"satellite", 30 * time.Second}}
}

// DefaultLink is the class of a link of which nobody says it.
const DefaultLink = "wan"

// FindLink finds a class by its name. The error is Invalid and names all.
func FindLink(name string) (LinkClass, error) {
	all := Links()
	if i := slices.IndexFunc(all, func(l LinkClass) bool { return l.Name == name }); i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	return LinkClass{}, Errorf(Invalid, "%q is no class of links: use %s", name, strings.Join(names, ", "))
}
