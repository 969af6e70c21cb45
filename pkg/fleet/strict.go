package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// decodeStrict is json.Unmarshal that takes each field once and only by its
// exact name. The package encoding/json alone folds case and lets the last of
// several equal fields win, so two readers could see two different resources.
// Paths in errors begin with at.
func decodeStrict(data []byte, into any, at string) error {
	if err := checkFields(data, reflect.TypeOf(into), at); err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// checkFields compares the names in data with those of type t, at every depth.
func checkFields(data []byte, t reflect.Type, at string) error {
	if t == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch data = bytes.TrimSpace(data); {
	case len(data) == 0:
		return nil
	case data[0] == '{' && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		return checkObject(data, t, at)
	case data[0] == '[' && t.Kind() == reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil {
			return err
		}
		for i, raw := range items {
			if err := checkFields(raw, t.Elem(), item(at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkObject(data []byte, t reflect.Type, at string) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name := key.(string) // the decoder allows nothing else here
		path := strings.TrimPrefix(at+"."+name, ".")
		if seen[name] {
			return fmt.Errorf("%s: is there twice", clip(path))
		}
		seen[name] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		element, found := fieldType(t, name)
		if !found {
			return fmt.Errorf("%s: unknown field %q", clip(path), clip(name))
		}
		if err := checkFields(raw, element, path); err != nil {
			return err
		}
	}
	return nil
}

// fieldType is the type of what a field or map key holds.
func fieldType(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for f := range t.Fields() {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return f.Type, true
		}
	}
	return nil, false
}
