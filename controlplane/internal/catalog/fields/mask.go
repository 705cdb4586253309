// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Everything is the field mask that replaces a whole resource.
const Everything = "*"

// field is what a struct field's tags say: its JSON name, whether only the control plane writes it ("output"), whether
// it cannot change ("immutable"), whether it is handed on and never read back ("secret"), whether others write it too, so
// that "*" without it keeps it ("kept"), and its oneof.
type field struct {
	name, rule, oneof string
	typ               reflect.Type
}

// fields returns the fields of a struct type by name, those of embedded structs included.
func fields(t reflect.Type) map[string]field {
	out := make(map[string]field)
	for f := range t.Fields() {
		if f.Anonymous {
			for name := range fields(f.Type) {
				out[name] = field{name: name, rule: "output", typ: f.Type}
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		typ := f.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		out[name] = field{name: name, rule: f.Tag.Get("field"), oneof: f.Tag.Get("oneof"), typ: typ}
	}
	if labels, ok := out["labels"]; ok {
		out["labels"] = field{name: "labels", typ: reflect.TypeFor[map[string]string](), oneof: labels.oneof}
	}
	return out
}

func fieldsOf(o resource.Object) map[string]field { return fields(reflect.TypeOf(o).Elem()) }

// document is a resource as JSON, one level open.
type document map[string]json.RawMessage

func toDocument(v any) (document, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("open resource: %w", err)
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("open resource: %w", err)
	}
	return d, nil
}

// Merge returns the stored resource with the masked fields of a patch. Paths are proto names, "display_name", or one
// level deeper, "visibility.team" and "labels.env". Without a mask every field that is set in the patch is written; with
// "*" every field, set or not. A masked field that the patch does not set takes its default. Setting one member of a
// oneof clears the others. Fields that only the control plane writes are ignored, also when a mask names them (AIP-203);
// fields that cannot change are refused when they would, but for "*" without them; secrets, and what others write too, are taken with "*" if they are set.
func Merge(stored, patch resource.Object, mask []string) (resource.Object, error) {
	known := fieldsOf(stored)
	from, err := toDocument(patch)
	if err != nil {
		return nil, err
	}
	to, err := toDocument(stored)
	if err != nil {
		return nil, err
	}
	var problems resource.Problems
	paths := mask
	switch {
	case len(mask) == 0:
		paths = writable(known, func(f field) bool { return from[f.name] != nil })
	case slices.Contains(mask, Everything):
		paths = writable(known, func(f field) bool { return f.rule == "" || from[f.name] != nil })
	}
	for _, path := range paths {
		mergePath(to, from, path, known, &problems)
	}
	if err := problems.Err("update mask of " + string(stored.Kind()) + " " + quote(stored.Metadata().Name)); err != nil {
		return nil, err
	}
	b, err := json.Marshal(to)
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", stored.Kind(), err)
	}
	return resource.Decode(stored.Kind(), b)
}

func writable(known map[string]field, wanted func(field) bool) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if f := known[name]; f.rule != "output" && wanted(f) {
			out = append(out, name)
		}
	}
	return out
}

func mergePath(to, from document, path string, known map[string]field, problems *resource.Problems) {
	name, rest, nested := strings.Cut(path, ".")
	f, ok := known[name]
	switch {
	case !ok:
		problems.Add(resource.ReasonUnknownField, path, "there is no field %q%s", name, Suggest(name, slices.Sorted(maps.Keys(known))))
	case f.rule == "output": // a client sends back what it read (AIP-203)
	case f.rule == "immutable":
		if !bytes.Equal(to[name], from[name]) {
			problems.Add(resource.ReasonImmutableField, path, "it cannot change; delete the resource and make a new one")
		}
	case nested:
		mergeNested(to, from, f, rest, known, problems)
	default:
		set(to, name, from[name], known)
	}
}

// mergeNested writes one member of a message or one entry of a map.
func mergeNested(to, from document, f field, rest string, known map[string]field, problems *resource.Problems) {
	var inner map[string]field
	switch f.typ.Kind() {
	case reflect.Struct:
		inner = fields(f.typ)
		if _, ok := inner[rest]; !ok {
			problems.Add(resource.ReasonUnknownField, f.name+"."+rest, "there is no field %q in %s%s", rest, f.name, Suggest(rest, slices.Sorted(maps.Keys(inner))))
			return
		}
	case reflect.Map:
	default:
		problems.Add(resource.ReasonUnknownField, f.name+"."+rest, "%s has no fields of its own; name it alone", f.name)
		return
	}
	target, source := make(document), make(document)
	// Both come from structs of this package, so they open; an absent one stays empty.
	_ = json.Unmarshal(to[f.name], &target)
	_ = json.Unmarshal(from[f.name], &source)
	set(target, rest, source[rest], inner)
	b, _ := json.Marshal(target) // raw messages of valid JSON
	if len(target) == 0 && to[f.name] == nil {
		b = nil
	}
	set(to, f.name, b, known)
}

// set writes or removes one field and clears the other members of its oneof.
func set(d document, name string, value json.RawMessage, known map[string]field) {
	if value == nil {
		delete(d, name)
		return
	}
	if group := known[name].oneof; group != "" {
		for other, f := range known {
			if f.oneof == group && other != name {
				delete(d, other)
			}
		}
	}
	d[name] = value
}

// Changed returns the names of the fields that differ between two states, sorted, without those that only the control
// plane writes. A nil stored is the empty resource.
func Changed(stored, wanted resource.Object) ([]string, error) {
	after, err := toDocument(wanted)
	if err != nil {
		return nil, err
	}
	before := document{}
	if stored != nil {
		if before, err = toDocument(stored); err != nil {
			return nil, err
		}
	}
	var out []string
	for name, f := range fieldsOf(wanted) {
		if f.rule != "output" && !bytes.Equal(before[name], after[name]) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Suggest returns `; did you mean "…"?` with the closest of some names, or nothing if none is close.
func Suggest(name string, known []string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + quote(best) + "?"
}

// distance is the Levenshtein distance of two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
