package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"fairlead/pkg/fleet"
)

// Bounds of one document. The largest documents that tests know have some
// thousand values, six deep.
const (
	maxNodes = 200_000
	maxDepth = 32
)

// maxFaults is how many faults of one file are listed: nobody reads more
// before running it again, and a hostile file could make millions.
const maxFaults = 100

// decoder turns one document's nodes into a resource, noting the line of
// every path and every fault on the way. It stops at nothing.
type decoder struct {
	offset int // lines of the file before the document
	spec   fleet.Spec
	lines  map[string]int
	faults fleet.Faults
	// settled are the paths whose faults are known already: what Validate
	// says about them would only repeat it.
	settled []string
	nodes   int
	full    bool // a bound was hit
}

// document decodes and validates one document and keeps it, good or bad.
func (r *reader) document(file string, offset int, node *yaml.Node) {
	d := &decoder{offset: offset, lines: map[string]int{}}
	resource := d.resource(node)
	document := Document{Resource: resource, File: file, Line: offset + node.Line, lines: d.lines}
	faults := d.faults
	if resolve(node).Kind == yaml.MappingNode {
		faults = append(faults, d.news(resource.Validate())...)
	}
	faults = faults[:min(len(faults), maxFaults+1)]
	for i, f := range faults {
		faults[i].File = file
		if f.Line == 0 {
			faults[i].Line = document.LineOf(f.Path)
		}
		if resource.Kind != "" && resource.Metadata.Name != "" {
			faults[i].Subject = resource.ID()
		} else {
			faults[i].Subject = "" // half an ID helps nobody
		}
	}
	r.faults = append(r.faults, faults...)
	if resource.Spec != nil && resource.Metadata.Name != "" {
		r.set.documents = append(r.set.documents, document)
	}
}

// news leaves out what the decoder has said already, in other words.
func (d *decoder) news(found fleet.Faults) fleet.Faults {
	return slices.DeleteFunc(found, func(f fleet.Fault) bool {
		return d.full || slices.ContainsFunc(d.settled, func(path string) bool {
			rest, under := strings.CutPrefix(f.Path, path)
			return f.Path == parent(path) || under && (rest == "" || rest[0] == '.' || rest[0] == '[')
		})
	})
}

func (d *decoder) resource(node *yaml.Node) fleet.Resource {
	var r fleet.Resource
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		d.fault(node, "", "a resource has fields such as apiVersion and kind, this is %s", describe(node))
		return r
	}
	for _, p := range d.pairs(node, "") {
		if p.key.Value == "kind" && p.value.Kind == yaml.ScalarNode && p.value.ShortTag() == "!!str" {
			spec, err := fleet.NewSpec(p.value.Value)
			if err != nil {
				d.fault(p.key, "kind", "%s%s", err, meant(fleet.Nearest(p.value.Value, fleet.Kinds())))
				d.settled = append(d.settled, "spec")
			}
			d.spec = spec
		}
	}
	if d.spec == nil {
		d.settled = append(d.settled, "spec")
	}
	d.nodes = 0
	d.value(node, reflect.ValueOf(&r).Elem(), "", 0)
	return r
}

func (d *decoder) fault(node *yaml.Node, path, format string, args ...any) {
	if len(d.faults) > maxFaults {
		d.full = true
		return
	}
	d.faults = append(d.faults, fleet.Fault{Line: d.offset + node.Line, Path: path, Message: fmt.Sprintf(format, args...)})
	d.settled = append(d.settled, path)
}

// value decodes a node into a settable value of any type that resources use.
func (d *decoder) value(node *yaml.Node, into reflect.Value, path string, depth int) {
	if d.full {
		return
	}
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		d.full = true
		d.fault(node, path, "is nested too deeply or grows too large through aliases (*name): at most %d values, %d deep", maxNodes, maxDepth)
		return
	}
	node = resolve(node)
	if isNull(node) && into.Kind() != reflect.String && into.Kind() != reflect.Int {
		return // `headers:` with nothing behind it is the same as no headers
	}
	switch into.Kind() {
	case reflect.Struct:
		d.fields(node, into, path, depth)
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(node, into.Elem(), path, depth)
	case reflect.Interface: // fleet.Spec
		if d.spec != nil {
			d.value(node, reflect.ValueOf(d.spec).Elem(), path, depth)
			into.Set(reflect.ValueOf(d.spec))
		}
	case reflect.Slice:
		d.list(node, into, path, depth)
	case reflect.Map:
		d.entries(node, into, path, depth)
	default:
		d.scalar(node, into, path)
	}
}

func (d *decoder) fields(node *yaml.Node, into reflect.Value, path string, depth int) {
	if node.Kind != yaml.MappingNode {
		d.fault(node, path, "must be fields (%s), not %s", strings.Join(names(into.Type()), ", "), describe(node))
		return
	}
	for _, p := range d.pairs(node, path) {
		at := join(path, p.key.Value)
		i := slices.Index(names(into.Type()), p.key.Value)
		if i < 0 {
			d.unknown(p, into.Type(), path)
			continue
		}
		d.lines[at] = d.offset + p.key.Line
		if into.Field(i).Kind() == reflect.String && isNull(resolve(p.value)) {
			continue // unset; Validate says whether it is needed
		}
		d.value(p.value, into.Field(i), at, depth+1)
	}
}

// unknown faults a field that its type does not have and suggests the one that is meant.
func (d *decoder) unknown(p pair, t reflect.Type, path string) {
	known := names(t)
	near := fleet.Nearest(p.key.Value, known)
	hint := meant(near)
	if near == "" {
		hint = ": use " + strings.Join(known, ", ")
	}
	d.fault(p.key, join(path, clip(p.key.Value)), "unknown field %q%s", clip(p.key.Value), hint)
	if near != "" {
		d.settled = append(d.settled, join(path, near))
	}
}

// meant asks for the word that was probably meant, where there is one.
func meant(word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", word)
}

func (d *decoder) list(node *yaml.Node, into reflect.Value, path string, depth int) {
	if node.Kind != yaml.SequenceNode {
		d.fault(node, path, "must be a list (lines that begin with - or [a, b]), not %s", describe(node))
		return
	}
	for i, n := range node.Content {
		if d.full {
			return
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = d.offset + n.Line
		element := reflect.New(into.Type().Elem()).Elem()
		if isNull(resolve(n)) {
			d.fault(n, at, "is empty: fill it in or remove the line")
		} else {
			d.value(n, element, at, depth+1)
		}
		into.Set(reflect.Append(into, element))
	}
}

func (d *decoder) entries(node *yaml.Node, into reflect.Value, path string, depth int) {
	if node.Kind != yaml.MappingNode {
		d.fault(node, path, "must be a map (name: value), not %s", describe(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, p := range d.pairs(node, path) {
		at := join(path, p.key.Value)
		d.lines[at] = d.offset + p.key.Line
		element := reflect.New(into.Type().Elem()).Elem()
		d.value(p.value, element, at, depth+1)
		into.SetMapIndex(reflect.ValueOf(p.key.Value), element)
	}
}

// scalar decodes text, whole numbers and booleans. Nothing is converted:
// a number where text is due is more often a slip than meant.
func (d *decoder) scalar(node *yaml.Node, into reflect.Value, path string) {
	tag := node.ShortTag()
	switch is := node.Kind == yaml.ScalarNode; into.Kind() {
	case reflect.String:
		if is && tag == "!!str" {
			into.SetString(node.Value)
			return
		}
		hint := ""
		if is && tag != "!!null" {
			hint = ": put it in quotes"
		}
		d.fault(node, path, "must be text, not %s%s", describe(node), hint)
	case reflect.Int:
		if n, err := strconv.Atoi(node.Value); is && tag == "!!int" && err == nil && strconv.Itoa(n) == node.Value {
			into.SetInt(int64(n))
			return
		}
		hint := ""
		if _, err := strconv.Atoi(node.Value); err == nil && tag == "!!str" {
			hint = ": remove the quotes"
		}
		d.fault(node, path, "must be a whole number such as 80, not %s%s", describe(node), hint)
	case reflect.Bool:
		if is && tag == "!!bool" {
			into.SetBool(strings.EqualFold(node.Value, "true"))
			return
		}
		d.fault(node, path, "must be true or false, not %s", describe(node))
	default:
		d.fault(node, path, "cannot be read as %s", into.Type()) // a new type in package fleet: teach value
	}
}
