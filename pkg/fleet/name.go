package fleet

import (
	"slices"
	"strings"
)

// MaxName is the longest name of a node or resource: a DNS label's length, so
// that a name can become one.
const MaxName = 63

// reserved are node names that mean something else: `fleet` and `live` begin
// the subjects of streams, `all` and `local` choose nodes on the command line,
// and an inbox of `command` or `event` would look like a message (the broker
// maps _INBOX.event.x.y as it does an event, and the reply is lost).
var reserved = []string{"fleet", "live", "all", "local", "command", "event"}

// CheckName checks a name by the grammar of subject tokens: 1 to 63 ASCII
// letters, digits, `-` or `_`; case counts. The error is Invalid and begins
// with kind, the word for what is named ("node", "Upstream").
func CheckName(kind, name string) error {
	const allowed = "use 1 to 63 letters, digits, '-' or '_'"
	if name == "" {
		return Errorf(Invalid, "%s name is empty: %s", kind, allowed)
	}
	if len(name) > MaxName {
		return Errorf(Invalid, "%s name %q is %d characters long: %s", kind, clip(name), len(name), allowed)
	}
	for _, c := range name {
		if !isAlnum(c) && c != '-' && c != '_' {
			return Errorf(Invalid, "%s name %q holds %q: %s", kind, name, c, allowed)
		}
	}
	return nil
}

// CheckNode is CheckName for nodes, which may not bear a reserved name.
func CheckNode(name string) error {
	if err := CheckName("node", name); err != nil {
		return err
	}
	if slices.Contains(reserved, name) {
		return Errorf(Invalid, "node name %q is reserved: use another than %s", name, strings.Join(reserved, ", "))
	}
	return nil
}

func isAlnum(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// clip shortens a value for a message, so that a hostile one cannot flood a terminal.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
