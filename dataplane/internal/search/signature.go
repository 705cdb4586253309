// SPDX-License-Identifier: Apache-2.0

package search

import (
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Bounds of a signature: what is beyond them stands as "…", and detail: schema has all of it.
const (
	maxSignature = 1000 // bytes, after which no parameter is begun
	maxChoices   = 16   // of an enum or a union
	maxDepth     = 3    // of objects in objects
	maxRefs      = 8    // one after the other
)

// anyType is what a parameter is of which the schema says nothing that a line could.
const anyType = "any"

// signature writes the parameters of an input schema on one line, required ones first, each as name!:type or name?:type (G-20):
//
//	repo!:string; state?:"open"|"closed"; labels?:string[]; at?:{line!:integer; column?:integer}
//
// It is empty for a tool without parameters.
func signature(schema []byte) string {
	s := signer{root: schema}
	return s.object(schema, 0)
}

type signer struct {
	root []byte // where $ref points into
	size int    // bytes written
	refs int    // references followed on the way to the type that is written
}

// object writes the properties of a schema.
func (s *signer) object(schema []byte, depth int) string {
	properties := wire.Get(schema, "properties")
	if !wire.IsObject(properties) {
		return ""
	}
	fields, err := wire.Fields(nil, properties)
	if err != nil {
		return ""
	}
	required := s.required(schema)
	var parts []string
	for _, wanted := range []bool{true, false} {
		for _, f := range fields {
			if _, needed := required[string(f.Name)]; needed != wanted {
				continue
			}
			if s.size > maxSignature {
				return strings.Join(append(parts, "…"), "; ")
			}
			mark := "?:"
			if wanted {
				mark = "!:"
			}
			name := parameter(string(f.Name)) + mark
			s.size += len(name) + len("; ")
			parts = append(parts, name+s.describe(f.Of(properties), depth))
		}
	}
	return strings.Join(parts, "; ")
}

func (*signer) required(schema []byte) map[string]struct{} {
	raw := wire.Get(schema, "required")
	out := make(map[string]struct{})
	for _, e := range list(raw) {
		if name, ok := wire.DecodeString(e); ok {
			out[name] = struct{}{}
		}
	}
	return out
}

// describe writes the type of one value.
func (s *signer) describe(schema []byte, depth int) string {
	if s.size++; s.size > 2*maxSignature { // references and unions may multiply without end
		return "…"
	}
	if !wire.IsObject(schema) {
		return s.plain(anyType)
	}
	fields, err := wire.Fields(nil, schema)
	if err != nil {
		return s.plain(anyType)
	}
	keyword := func(name string) []byte { return wire.Lookup(fields, name).Of(schema) }
	if ref := keyword("$ref"); ref != nil {
		return s.reference(ref, depth)
	}
	if constant := keyword("const"); constant != nil {
		return s.plain(literal(constant))
	}
	if choices := list(keyword("enum")); len(choices) > 0 {
		return s.plain(union(choices, literal))
	}
	for _, name := range []string{"anyOf", "oneOf"} {
		if choices := list(keyword(name)); len(choices) > 0 {
			return union(choices, func(one []byte) string { return s.describe(one, depth) })
		}
	}
	kinds := keyword("type")
	if choices := list(kinds); len(choices) > 0 {
		return union(choices, func(one []byte) string { return s.named(one, schema, depth) })
	}
	return s.named(kinds, schema, depth)
}

// named writes a type that the schema calls by its name.
func (s *signer) named(kind, schema []byte, depth int) string {
	name, ok := wire.DecodeString(kind)
	switch {
	case !ok && wire.Get(schema, "properties") != nil:
		name = "object"
	case !ok && wire.Get(schema, "items") != nil:
		name = "array"
	}
	switch name {
	case "string", "integer", "number", "boolean", "null":
		return s.plain(name)
	case "array":
		items := wire.Get(schema, "items")
		if items == nil || depth >= maxDepth {
			return s.plain("array")
		}
		of := s.describe(items, depth+1)
		if strings.Contains(of, "|") && !strings.HasPrefix(of, "{") {
			of = "(" + of + ")"
		}
		return of + s.plain("[]")
	case "object":
		if depth >= maxDepth {
			return s.plain("object")
		}
		if inside := s.object(schema, depth+1); inside != "" {
			return s.plain("{") + inside + s.plain("}")
		}
		return s.plain("object")
	}
	return s.plain(anyType)
}

// reference writes the type that a pointer into the same schema leads to.
func (s *signer) reference(ref []byte, depth int) string {
	text, _ := wire.DecodeString(ref)
	path, inside := strings.CutPrefix(text, "#/")
	if !inside || s.refs >= maxRefs {
		return s.plain(anyType)
	}
	steps := strings.Split(path, "/")
	for i, step := range steps {
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
	}
	s.refs++
	defer func() { s.refs-- }()
	return s.describe(wire.Get(s.root, steps...), depth)
}

func (s *signer) plain(text string) string {
	s.size += len(text)
	return text
}

// union writes choices with "|" between, the same one once.
func union(choices [][]byte, write func(raw []byte) string) string {
	var parts []string
	seen := make(map[string]struct{})
	for i, one := range choices {
		if i == maxChoices {
			parts = append(parts, "…")
			break
		}
		text := write(one)
		if _, twice := seen[text]; twice {
			continue
		}
		seen[text] = struct{}{}
		parts = append(parts, text)
	}
	return strings.Join(parts, "|")
}

// literal writes a value as JSON, on one line.
func literal(raw []byte) string {
	const longest = 60
	text := string(wire.AppendOneLine(nil, raw))
	if len(text) > longest {
		return "…"
	}
	return text
}

// parameter writes the name of a parameter: as it is where that is clear, else as a JSON string.
func parameter(name string) string {
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.', r == '$', r == '@':
		default:
			return string(wire.Quote(name))
		}
	}
	if name == "" {
		return `""`
	}
	return name
}

// list returns the raw elements of an array, none if raw is none.
func list(raw []byte) [][]byte {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	spans, err := wire.Elements(nil, raw)
	if err != nil {
		return nil
	}
	out := make([][]byte, len(spans))
	for i, s := range spans {
		out[i] = s.Of(raw)
	}
	return out
}
