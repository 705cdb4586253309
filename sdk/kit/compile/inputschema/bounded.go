// SPDX-License-Identifier: Apache-2.0

package inputschema

import (
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxApplied is how many schemas may apply to one value. Real ones stay below a hundred; references to references multiply, and a
// server's schema must not keep a node busy.
const maxApplied = 1000

// isBounded reports whether every schema that is reached applies a bounded number of schemas to one value. One that leads back to
// itself without going deeper into the value is not.
func isBounded(root *jsonschema.Schema) bool {
	b := bounds{applied: make(map[*jsonschema.Schema]int)}
	todo, seen := []*jsonschema.Schema{root}, map[*jsonschema.Schema]struct{}{root: {}}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if b.of(s) > maxApplied {
			return false
		}
		for _, next := range slices.Concat(inPlace(s), inside(s)) {
			if _, known := seen[next]; !known {
				seen[next] = struct{}{}
				todo = append(todo, next)
			}
		}
	}
	return true
}

// bounds counts what is applied to one value, of each schema once.
type bounds struct{ applied map[*jsonschema.Schema]int }

func (b bounds) of(s *jsonschema.Schema) int {
	if n, known := b.applied[s]; known {
		return n
	}
	b.applied[s] = maxApplied + 1 // until it is counted: a schema that leads back here has no end
	n := 1
	for _, next := range inPlace(s) {
		n = min(n+b.of(next), maxApplied+1)
	}
	b.applied[s] = n
	return n
}

// inPlace are the schemas that apply to the same value as s.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	list := slices.Concat([]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else}, s.AllOf, s.AnyOf, s.OneOf)
	if s.DynamicRef != nil {
		list = append(list, s.DynamicRef.Ref)
	}
	list = slices.AppendSeq(list, maps.Values(s.DependentSchemas))
	for _, one := range s.Dependencies {
		list = append(list, schemas(one)...)
	}
	return slices.DeleteFunc(list, func(s *jsonschema.Schema) bool { return s == nil })
}

// inside are the schemas that apply to parts of a value.
func inside(s *jsonschema.Schema) []*jsonschema.Schema {
	list := slices.Concat(
		[]*jsonschema.Schema{s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema},
		s.PrefixItems, schemas(s.AdditionalProperties), schemas(s.Items), schemas(s.AdditionalItems),
	)
	list = slices.AppendSeq(list, maps.Values(s.Properties))
	list = slices.AppendSeq(list, maps.Values(s.PatternProperties))
	return slices.DeleteFunc(list, func(s *jsonschema.Schema) bool { return s == nil })
}

// schemas are those in a keyword that may have something else.
func schemas(keyword any) []*jsonschema.Schema {
	switch k := keyword.(type) {
	case *jsonschema.Schema:
		return []*jsonschema.Schema{k}
	case []*jsonschema.Schema:
		return k
	}
	return nil
}
