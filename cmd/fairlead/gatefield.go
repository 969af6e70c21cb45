package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/rollout"
)

// checkGates refuses gates that ask for what no health report has: a station would wait
// for it until the gate's time is over.
func checkGates(texts []string) error {
	for _, text := range texts {
		g, err := rollout.ParseGate(text)
		if err != nil || g.Kind != rollout.GateHealth {
			continue // which others refuse
		}
		known := healthFields(reflect.TypeFor[handlers.HealthReport](), "")
		if slices.Contains(known, g.What) {
			continue
		}
		hint := ""
		if near := fleet.Nearest(g.What, known); near != "" {
			hint = fmt.Sprintf("did you mean %q? ", near)
		}
		return usagef("--gate %s: a health report has no number or truth %q: %s`fairlead health NODE --json` shows what it has", text, g.What, hint)
	}
	return nil
}

// healthFields are the paths of all numbers and truths in a report.
func healthFields(t reflect.Type, at string) (paths []string) {
	switch {
	case t.Kind() == reflect.Pointer:
		return healthFields(t.Elem(), at)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			switch {
			case t.Field(i).Anonymous && name == "":
				paths = append(paths, healthFields(t.Field(i).Type, at)...)
			case name != "" && name != "-":
				paths = append(paths, healthFields(t.Field(i).Type, strings.TrimPrefix(at+"."+name, "."))...)
			}
		}
	case t.Kind() == reflect.Bool, reflect.Int <= t.Kind() && t.Kind() <= reflect.Float64:
		paths = []string{at}
	}
	return paths
}
