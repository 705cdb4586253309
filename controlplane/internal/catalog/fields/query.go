// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"reflect"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// FilterProblem says what is wrong with a filter's field on a kind of resource, empty if nothing is: it must be
// labels.<key> or lead to a text, through messages by dots, for example "visibility.personal.owner".
func FilterProblem(k resource.Kind, path string) string {
	o, err := resource.New(k)
	if err != nil {
		return err.Error()
	}
	t := reflect.TypeOf(o).Elem()
	for at := path; ; {
		name, rest, nested := strings.Cut(at, ".")
		if t == reflect.TypeFor[map[string]string]() {
			return "" // whatever follows is a key
		}
		if t.Kind() != reflect.Struct {
			return quote(path) + " leads through a field without fields"
		}
		f, ok := memberType(t, name)
		switch {
		case !ok:
			return "a " + string(k) + " has no field " + quote(name) + Suggest(name, memberNames(t))
		case !nested && f.Kind() != reflect.String:
			return quote(path) + " is not a text and cannot be compared"
		case !nested:
			return ""
		}
		t, at = f, rest
	}
}

// Text returns the text at a path that [FilterProblem] accepts, empty if it is not set.
func Text(o resource.Object, path string) string {
	v := reflect.ValueOf(o).Elem()
	for {
		if m, ok := v.Interface().(map[string]string); ok {
			return m[path]
		}
		name, rest, nested := strings.Cut(path, ".")
		f, ok := member(v.Type(), name)
		if !ok {
			return ""
		}
		if v = v.FieldByIndex(f.Index); v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return ""
			}
			v = v.Elem()
		}
		if !nested {
			return v.String()
		}
		path = rest
	}
}

func memberType(t reflect.Type, name string) (reflect.Type, bool) {
	f, ok := member(t, name)
	if !ok {
		return nil, false
	}
	if f.Type.Kind() == reflect.Pointer {
		return f.Type.Elem(), true
	}
	return f.Type, true
}

// member finds a field by its JSON name, embedded structs included; names are few, so looking at each is quick.
func member(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && tag != "" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func memberNames(t reflect.Type) (out []string) {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
			out = append(out, tag)
		}
	}
	return out
}

// Strip clears what only the control plane writes, and all metadata but name and labels: what is left is the form that a
// manifest has.
func Strip(o resource.Object) {
	m := o.Metadata()
	*m = resource.Meta{Name: m.Name, Labels: m.Labels}
	strip(reflect.ValueOf(o).Elem())
}

func strip(v reflect.Value) {
	for f, value := range v.Fields() {
		switch {
		case f.Tag.Get("field") == "output":
			value.SetZero()
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct:
			for i := range value.Len() {
				strip(value.Index(i))
			}
		}
	}
}
