package nginx_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/manifest"
)

// Each example of the docs is whole: it is taken by a real nginx as it stands,
// on ports that are free here.
func TestEveryResourceExampleServes(t *testing.T) {
	files, err := filepath.Glob("../../examples/resources/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			set, err := manifest.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			n := newNode(t)
			set = withFiles(t, file, set)
			ports := map[int]int{}
			for _, r := range set.Resources() {
				movePorts(n, reflect.ValueOf(r.Spec), ports)
			}
			v := n.mustApply(1, set.Resources()...)
			if s := n.status(); !s.Up || s.Running != v.Digest || s.Disk != v.Digest {
				t.Errorf("applied %s, and nginx is %+v", v.Digest, s)
			}
		})
	}
}

// movePorts replaces each field `port` by a free one, the same ones alike.
func movePorts(n *node, v reflect.Value, ports map[int]int) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		movePorts(n, v.Elem(), ports)
	case reflect.Slice:
		for i := range v.Len() {
			movePorts(n, v.Index(i), ports)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Field(i)
			if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "port" || field.Kind() != reflect.Int {
				movePorts(n, field, ports)
			} else if was := int(field.Int()); was != 0 {
				if ports[was] == 0 {
					ports[was] = n.freePort()
				}
				field.SetInt(int64(ports[was]))
			}
		}
	}
}
