package fleet

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Validate returns every fault of the resource, each with Subject set to the
// resource's ID; paths begin at the document ("apiVersion", "spec.listen[0]").
func (r Resource) Validate() Faults {
	var faults Faults
	if r.APIVersion != APIVersion {
		faults.Addf("apiVersion", "%s: write %s", shown(r.APIVersion), APIVersion)
	}
	known := true
	if r.Kind == "" {
		known = false
		faults.Addf("kind", "is missing: use one of %s", strings.Join(Kinds(), ", "))
	} else if _, err := NewSpec(r.Kind); err != nil {
		known = false
		faults.Addf("kind", "%s", err)
	}
	if r.Metadata.Name == "" {
		faults.Addf("metadata.name", "is missing: name the resource")
	} else if err := CheckName("resource", r.Metadata.Name); err != nil {
		faults.Addf("metadata.name", "%s", err)
	}
	switch {
	case r.Spec == nil:
		faults.Addf("spec", "is missing")
	case known && r.Spec.Kind() != r.Kind:
		faults.Addf("spec", "is of kind %s, the resource is a %s", r.Spec.Kind(), r.Kind)
	default:
		faults = append(faults, checkSpec(r)...)
	}
	for i := range faults {
		faults[i].Subject = r.ID()
	}
	return faults
}

// shown is a value for a message: what is wrong with it, or that there is none.
func shown(value string) string {
	if value == "" {
		return "is missing"
	}
	return fmt.Sprintf("%q is not known", clip(value))
}

// add adds a fault at path unless problem is empty.
func (f *Faults) add(path, problem string) {
	if problem != "" {
		f.Addf(path, "%s", problem)
	}
}

// once notices what is there twice. It maps a value's canonical form to the
// path where it was seen first.
type once map[string]string

// check adds a fault where the value was seen before.
func (o once) check(faults *Faults, path, canonical string) {
	if first, found := o[canonical]; found {
		faults.Addf(path, "is the same as %s", first)
		return
	}
	o[canonical] = path
}

// item is the path of an element of a list.
func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// oneOf adds a fault unless value is one of the allowed; "" stands for the default.
func oneOf(faults *Faults, path, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	faults.Addf(path, "%s: use one of %s", shown(value), strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
}

// checkSelector adds a fault where a selector cannot be read.
func checkSelector(faults *Faults, path, text string) {
	if _, err := ParseSelector(text); err != nil {
		faults.Addf(path, "%s", err)
	}
}

// wordProblem is the guard that every value passes that becomes one word of
// nginx configuration: valid UTF-8, no control character, none of the refused
// characters. It says what is wrong; "" is nothing.
func wordProblem(value, refused string) string {
	if !utf8.ValidString(value) {
		return "is not valid UTF-8"
	}
	for _, c := range value {
		switch {
		case c < ' ' || 0x7f <= c && c < 0xa0 || c == 0x2028 || c == 0x2029:
			return fmt.Sprintf("%q holds the control character %q: remove it", clip(value), c)
		case c == '$' && strings.ContainsRune(refused, c):
			return fmt.Sprintf("%q holds '$', which begins a variable in nginx: remove it", clip(value))
		case c == ' ' && strings.ContainsRune(refused, c):
			return fmt.Sprintf("%q holds a space: remove it", clip(value))
		case strings.ContainsRune(refused, c):
			return fmt.Sprintf("%q holds %q, which may not be part of it", clip(value), c)
		}
	}
	return ""
}

// nginxSyntax holds the characters that mean something to nginx outside quotes.
const nginxSyntax = " ;{}$\"'`\\"
