package fleet

import (
	"fmt"
	"hash/crc32"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Variables are those in any text of the spec, each once; nil where there are
// none, as in most. The selector has none: it is read before there is a node.
func (r Resource) Variables() []Variable {
	if r.Spec == nil || !mayVary(reflect.ValueOf(r.Spec)) {
		return nil
	}
	var all []Variable
	r.replace(func(_, text string) string {
		return replace(text, func(v Variable) string {
			if !slices.Contains(all, v) {
				all = append(all, v)
			}
			return v.String()
		}, func(string) {})
	})
	return all
}

// Resolve is the resource as it is on one node: variables replaced, and then
// checked again by its own types, so that no value becomes anything else than
// the text that it is. The error is Faults.
func (r Resource) Resolve(values Values) (Resource, error) {
	if r.Spec == nil || !mayVary(reflect.ValueOf(r.Spec)) {
		return r, nil
	}
	var faults Faults
	resolved := r.replace(func(path, text string) string {
		fault := func(problem string) { faults.add(path, problem) }
		return replace(text, func(v Variable) string {
			value, problem := values.Of(v)
			if problem != "" {
				fault(problem)
			}
			return value
		}, fault)
	})
	if len(faults) == 0 {
		faults = resolved.Spec.Validate()
	}
	for i := range faults {
		faults[i].Subject = r.ID()
	}
	return resolved, faults.Err()
}

// checkSpec is Validate of a spec that may have variables. Each text with some
// is tried with values of several sorts, as a name, an address or a number is
// due there; one that no sort makes right is a fault.
func checkSpec(r Resource) Faults {
	if !mayVary(reflect.ValueOf(r.Spec)) {
		return r.Spec.Validate()
	}
	var faults Faults
	texts := map[string]int{} // path of a text with variables → sort of sample in use
	shown := map[string]string{}
	r.replace(func(path, text string) string {
		fault := func(problem string) { faults.add(path, problem) }
		replace(text, func(v Variable) string { texts[path], shown[path] = 0, text; return "" }, fault)
		return text
	})
	if len(faults) > 0 {
		return faults
	}
	for {
		found := r.sampled(texts).Spec.Validate()
		again := false
		for _, path := range slices.Sorted(maps.Keys(texts)) {
			if blames(found, path) && texts[path] < len(samples)-1 {
				texts[path]++
				again = true
			}
		}
		if !again {
			return r.explained(found, texts, shown)
		}
	}
}

// explained says beside each fault of a text with variables what they stood for.
func (r Resource) explained(found Faults, texts map[string]int, shown map[string]string) Faults {
	if len(found) == 0 {
		return nil
	}
	for path := range texts {
		texts[path] = 0 // the first sample reads best
	}
	if first := r.sampled(texts).Spec.Validate(); len(first) > 0 {
		found = first
	}
	for i, f := range found {
		for path, text := range shown {
			if f.Path == path {
				found[i].Message += fmt.Sprintf(" (tried for %q)", clip(text))
			}
		}
	}
	return found
}

func blames(faults Faults, path string) bool {
	return slices.ContainsFunc(faults, func(f Fault) bool {
		return f.Path == path || strings.HasPrefix(path, f.Path+".") || strings.HasPrefix(path, f.Path+"[")
	})
}

// samples are values of each sort that a text may be made of. A name bears a
// hash, so that two variables do not look like the same.
var samples = []func(Variable) string{
	func(v Variable) string { return fmt.Sprintf("sample-%08x", crc32.ChecksumIEEE([]byte(v.String()))) },
	func(v Variable) string {
		return fmt.Sprintf("192.0.2.%d", 1+crc32.ChecksumIEEE([]byte(v.String()))%250)
	},
	func(Variable) string { return "5" },
	func(Variable) string { return "/sample" },
	func(Variable) string { return "192.0.2.0/24" },
	func(Variable) string { return "30s" },
	func(Variable) string { return "10m" },
	func(Variable) string { return "10r/s" },
	func(Variable) string { return "2001:db8::1" },
	func(Variable) string { return "192.0.2.1:8080" },
	func(v Variable) string { return v.Default },
}

func (r Resource) sampled(texts map[string]int) Resource {
	return r.replace(func(path, text string) string {
		sort := texts[path]
		return replace(text, func(v Variable) string {
			if v.Name == "address" && sort == 0 {
				return "192.0.2.1"
			}
			return samples[sort](v)
		}, func(string) {})
	})
}

// replace is the resource with each text of its spec, but the selector,
// replaced. Nothing is shared with r.
func (r Resource) replace(f func(path, text string) string) Resource {
	spec := reflect.ValueOf(r.Spec)
	r.Spec = copyOf(spec, "spec", f).Interface().(Spec)
	return r
}

// copyOf copies a value of any type that specs are made of.
func copyOf(v reflect.Value, path string, f func(path, text string) string) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		return reflect.ValueOf(f(path, v.String())).Convert(v.Type())
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(copyOf(v.Elem(), path, f))
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if at := path + "." + name; at != "spec.selector" && out.Field(i).CanSet() {
				out.Field(i).Set(copyOf(v.Field(i), at, f))
			}
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(copyOf(v.Index(i), item(path, i), f))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for each := v.MapRange(); each.Next(); {
			out.SetMapIndex(each.Key(), copyOf(each.Value(), path+"."+each.Key().String(), f))
		}
		return out
	}
	return v
}

// mayVary reports whether any text holds a "${".
func mayVary(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.Contains(v.String(), "${")
	case reflect.Pointer:
		return !v.IsNil() && mayVary(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if mayVary(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if mayVary(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for each := v.MapRange(); each.Next(); {
			if mayVary(each.Value()) {
				return true
			}
		}
	}
	return false
}
