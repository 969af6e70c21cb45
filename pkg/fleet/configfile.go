package fleet

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// ConfigFile is raw nginx configuration for one context, for what the typed
// kinds cannot say. Only an admin may apply it.
type ConfigFile struct {
	// Selector chooses nodes by label, in Kubernetes' syntax; empty chooses every node.
	Selector string `json:"selector,omitempty"`
	// Context is where the content goes: http or stream.
	Context string `json:"context"`
	// Content is UTF-8 text of at most 1 MiB; LF and CRLF are both fine.
	Content string `json:"content"`
}

// MaxContent is the most that a ConfigFile holds, in bytes. nginx itself took
// 2 s and 510 MB for 10 MB of configuration.
const MaxContent = 1 << 20

// Kind is "ConfigFile".
func (*ConfigFile) Kind() string { return "ConfigFile" }

// Selects is the file's selector.
func (c *ConfigFile) Selects() string { return c.Selector }

// Validate returns every fault of the file; paths begin at "spec". It looks
// at the text as text: what nginx thinks of it is found when it is checked.
func (c *ConfigFile) Validate() Faults {
	var faults Faults
	checkSelector(&faults, "spec.selector", c.Selector)
	oneOf(&faults, "spec.context", c.Context, "http", "stream")
	faults.add("spec.content", contentProblem(c.Content))
	return faults
}

// contentProblem says why a text cannot be a configuration file; CRLF is fine.
func contentProblem(content string) string {
	if strings.TrimSpace(content) == "" {
		return "is empty: write nginx directives"
	}
	if len(content) > MaxContent {
		return "is larger than 1 MiB: split it"
	}
	return TextProblem([]byte(content))
}

// TextProblem says in plain words why data is not text in UTF-8 without byte
// order mark, or "" where it is. It is for everything that people hand in as
// files: editors and shells of other systems write UTF-16 unasked.
func TextProblem(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark: save it as UTF-8 without BOM"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "is UTF-16: save it as UTF-8"
	case bytes.IndexByte(data, 0) >= 0:
		return "holds a NUL byte: it is binary or UTF-16, save it as UTF-8 text"
	case !utf8.Valid(data):
		return "is not valid UTF-8: it is binary or in another encoding, save it as UTF-8 text"
	}
	return ""
}
