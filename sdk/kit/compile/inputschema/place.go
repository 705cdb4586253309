// SPDX-License-Identifier: Apache-2.0

package inputschema

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Place is what an input schema says of the names of members in one place of a value. The zero Place says nothing.
type Place struct{ schemas []*jsonschema.Schema }

// Place returns that of the value itself; of a nil Schema nothing is known.
func (s *Schema) Place() Place {
	if s == nil {
		return Place{}
	}
	return place([]*jsonschema.Schema{s.root})
}

// place is that of a value that schemas apply to, with all that apply to the same value because of them, but for what must not hold.
func place(list []*jsonschema.Schema) Place {
	var p Place
	for len(list) > 0 {
		s := list[len(list)-1]
		list = list[:len(list)-1]
		if s == nil || slices.Contains(p.schemas, s) {
			continue
		}
		p.schemas = append(p.schemas, s)
		list = append(list, slices.DeleteFunc(inPlace(s), func(one *jsonschema.Schema) bool { return one == s.Not })...)
	}
	return p
}

// Member returns the place of the value of a member.
func (p Place) Member(name string) Place {
	var list []*jsonschema.Schema
	for _, s := range p.schemas {
		known := s.Properties[name] != nil
		list = append(list, s.Properties[name])
		for pattern, one := range s.PatternProperties {
			if pattern.MatchString(name) {
				known, list = true, append(list, one)
			}
		}
		if !known {
			list = append(list, schemas(s.AdditionalProperties)...)
		}
	}
	return place(list)
}

// Element returns the place of an element of a list, by its index from 0.
func (p Place) Element(i int) Place {
	var list []*jsonschema.Schema
	for _, s := range p.schemas {
		first, rest := s.PrefixItems, []*jsonschema.Schema{s.Items2020}
		if tuple, ok := s.Items.([]*jsonschema.Schema); ok { // before 2020-12
			first, rest = tuple, schemas(s.AdditionalItems)
		} else if s.Items != nil {
			rest = schemas(s.Items)
		}
		if i < len(first) {
			list = append(list, first[i])
		} else {
			list = append(list, rest...)
		}
	}
	return place(list)
}

// Has reports whether the schema lists all of these names under properties.
func (p Place) Has(names ...string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(p.schemas, func(s *jsonschema.Schema) bool { return s.Properties[name] != nil }) {
			return false
		}
	}
	return true
}

// Names returns the names that the schema lists under properties, sorted.
func (p Place) Names() []string {
	all := make(map[string]struct{})
	for _, s := range p.schemas {
		for name := range s.Properties {
			all[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Path writes where in a value something is, in the form of [Problem]; steps are names and indexes.
func Path(steps []any) string {
	var b strings.Builder
	b.WriteByte('$')
	for _, step := range steps {
		switch s := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(s) + "]")
		case string:
			writeName(&b, s)
		}
	}
	return b.String()
}

// Quote writes a name that a caller chose as a JSON string, shortened if it is long.
func Quote(name string) string { return quote(clip(name)) }
