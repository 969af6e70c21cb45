package nginx

import (
	"fmt"
	"regexp"
	"strings"

	"fairlead/pkg/fleet"
)

// dollar is the variable that holds "$". nginx has no escape for one, and a
// geo block is the only place where a value is taken as it stands.
const dollar = "fairlead_dollar"

// maxParameter is the most bytes that one quoted value may have as written:
// nginx reads its configuration through a buffer of 4,096 bytes, and a
// parameter that does not fit is an error.
const maxParameter = 3500

var literalEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// literal quotes a value for a place where nginx expands no variables. Any
// value comes through as it is.
func literal(s string) string { return `"` + literalEscapes.Replace(s) + `"` }

var servedEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "$", "${"+dollar+"}")

// served quotes a value for a place where nginx expands variables, so that it
// is sent exactly as it is.
func served(s string) string { return `"` + servedEscapes.Replace(s) + `"` }

// pieces cuts a text so that each piece, quoted with served, fits into one
// parameter. There is at least one, and together they are the text.
func pieces(text string) []string {
	var all []string
	start, size := 0, 0
	for i := range len(text) {
		n := len(servedEscapes.Replace(text[i : i+1]))
		if size+n > maxParameter {
			all, start, size = append(all, text[start:i]), i, 0
		}
		size += n
	}
	return append(all, text[start:])
}

// plain refuses what could be read as syntax, for values that are names,
// paths and addresses and have no need of it.
func plain(s string) error {
	for _, r := range s {
		if r < ' ' || r == 0x7f || strings.ContainsRune("\"'\\${};", r) {
			return fmt.Errorf("%q may not contain %q", s, r)
		}
	}
	if len(s) > maxParameter {
		return fmt.Errorf("has %d bytes, more than %d", len(s), maxParameter)
	}
	return nil
}

// headerValue refuses what would end a header line, or not fit.
func headerValue(s string) error {
	for _, r := range s {
		if r < ' ' && r != '\t' || r == 0x7f {
			return fmt.Errorf("a header value may not contain %q", r)
		}
	}
	if n := len(served(s)); n > maxParameter {
		return fmt.Errorf("a header value may have %d bytes, quoted; this one has %d", maxParameter, n)
	}
	return nil
}

var (
	fieldName    = fleet.NewPattern("^[A-Za-z0-9!#%&'*+.^_`|~-]{1,200}$") // RFC 9110 token, without $
	serverName   = fleet.NewPattern(`^(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$`)
	contentType  = regexp.MustCompile(`^[A-Za-z0-9.+_-]+/[A-Za-z0-9.+_-]+(; ?[A-Za-z0-9_-]+=[A-Za-z0-9._+-]+)*$`)
	resourceName = fleet.NewPattern(`^[A-Za-z0-9_-]{1,63}$`)
	memberName   = fleet.NewPattern(`^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$|^unix:/[A-Za-z0-9/._@+~-]{1,106}$`)
)

// matcher is a *regexp.Regexp or a fleet.Pattern.
type matcher interface{ MatchString(text string) bool }
