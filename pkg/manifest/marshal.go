package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"fairlead/pkg/fleet"
)

// Marshal writes resources as YAML documents: fields in the order of their
// types, maps sorted by key, fields that are unset left out. Read gives the
// same resources back. The error is for text that is not UTF-8.
func Marshal(resources []fleet.Resource) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	for _, r := range resources {
		if err := e.Encode(toNode(reflect.ValueOf(r))); err != nil {
			return nil, fmt.Errorf("write %s as YAML: %w", r.ID(), err)
		}
	}
	if len(resources) == 0 {
		return nil, nil
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), nil
}

// toNode is the inverse of decoder.value.
func toNode(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
		}
		return toNode(v.Elem())
	case reflect.Struct:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i, name := range names(v.Type()) {
			_, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if options == "omitempty" && isEmpty(v.Field(i)) {
				continue
			}
			node.Content = append(node.Content, textNode(name), toNode(v.Field(i)))
		}
		return node
	case reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		m := v.Interface().(map[string]string)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			node.Content = append(node.Content, textNode(key), textNode(m[key]))
		}
		return node
	case reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			node.Content = append(node.Content, toNode(v.Index(i)))
		}
		return node
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	}
	return textNode(v.String())
}

// isEmpty is what encoding/json calls empty.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

// textNode chooses the style: a block for lines of plain text, quotes where
// YAML, of this version or the last, would read something else.
func textNode(s string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case isBlock(s):
		node.Style = yaml.LiteralStyle
	case strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }), isOldBool(s):
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// isBlock reports whether a block scalar gives s back exactly in every
// reader: several lines of printable text, none with spaces at its ends that
// count, no line end but "\n", and no indentation on the first, by which
// YAML measures the others.
func isBlock(s string) bool {
	if !strings.Contains(s, "\n") || strings.ContainsAny(s[:1], " \t\n") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.HasSuffix(line, " ") || strings.ContainsFunc(line, func(c rune) bool { return c != '\t' && !unicode.IsPrint(c) }) {
			return false
		}
	}
	return true
}

func isOldBool(s string) bool {
	return slices.Contains([]string{"y", "n", "yes", "no", "on", "off"}, strings.ToLower(s))
}
