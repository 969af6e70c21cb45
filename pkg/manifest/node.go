package manifest

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pair is one field of a mapping.
type pair struct{ key, value *yaml.Node }

// pairs lists the fields of a mapping in the order of the file, with merged
// ones (`<<: *base`) behind them, and faults keys that are no text or doubled.
func (d *decoder) pairs(node *yaml.Node, path string) []pair {
	var pairs, merged []pair
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content) && len(d.faults) <= maxFaults; i += 2 {
		p := pair{resolve(node.Content[i]), node.Content[i+1]}
		if p.key.ShortTag() == "!!merge" {
			merged = append(merged, d.merge(p.value, path)...)
			continue
		}
		if p.key.Kind != yaml.ScalarNode || p.key.ShortTag() != "!!str" {
			d.faultOnce(p.key, path, "a field's name must be text, not "+describe(p.key))
			continue
		}
		if line, found := first[p.key.Value]; found {
			d.faultOnce(p.key, join(path, clip(p.key.Value)), fmt.Sprintf("is there twice, first on line %d", d.offset+line))
			continue
		}
		first[p.key.Value] = p.key.Line
		pairs = append(pairs, p)
	}
	for _, p := range merged {
		if _, found := first[p.key.Value]; !found {
			first[p.key.Value] = p.key.Line
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// merge lists the fields that `<<` brings in from one mapping or a list of them.
func (d *decoder) merge(node *yaml.Node, path string) []pair {
	node = resolve(node)
	sources := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		sources = node.Content
	}
	var pairs []pair
	for _, s := range sources {
		s = resolve(s)
		if s.Kind != yaml.MappingNode {
			d.faultOnce(node, path, "<< merges fields, not "+describe(s))
			continue
		}
		for i := 0; i+1 < len(s.Content); i += 2 {
			if d.nodes++; d.nodes > maxNodes {
				return pairs // value faults it
			}
			key := resolve(s.Content[i])
			if key.ShortTag() != "!!str" {
				d.faultOnce(key, path, "what << merges must have names that are text, and no << of its own")
				continue
			}
			pairs = append(pairs, pair{key, s.Content[i+1]})
		}
	}
	return pairs
}

// faultOnce is fault for mappings that are read twice, as the outermost is.
func (d *decoder) faultOnce(node *yaml.Node, path, message string) {
	for _, f := range d.faults {
		if f.Line == d.offset+node.Line && f.Path == path && f.Message == message {
			return
		}
	}
	d.fault(node, path, "%s", message)
}

// resolve follows an alias to the node that it stands for. yaml knows no
// alias of an alias, so one step is enough.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// describe says what a node is, for "must be …, not …".
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	}
	value := clip(node.Value)
	switch node.ShortTag() {
	case "!!str":
		return fmt.Sprintf("the text %q", value)
	case "!!int", "!!float":
		return "the number " + value
	case "!!bool":
		return "the boolean " + value
	case "!!timestamp":
		return "the date " + value
	case "!!null":
		return "nothing"
	}
	return "a value tagged " + clip(node.ShortTag())
}

// names lists the fields of a struct type as they are written in files; every
// field has a json tag.
func names(t reflect.Type) []string {
	list := make([]string, t.NumField())
	for i := range list {
		list[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return list
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// clip shortens what is shown of a hostile value.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
