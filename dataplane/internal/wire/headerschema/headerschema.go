// SPDX-License-Identifier: Apache-2.0

// Package headerschema reads the x-mcp-header annotations of a tool's input schema: which arguments stand in Mcp-Param-*
// headers too, and whether the annotations are valid (mcp.md M-25, M-64; MCP 2026-07-28 server/tools, x-mcp-header).
//
// edge checks requests by it, dispatch leaves out tools by it. It must never know gateways or requests.
package headerschema

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Annotation is the keyword in a schema; Prefix begins the headers.
const (
	Annotation = "x-mcp-header"
	Prefix     = "Mcp-Param-"
)

// What can be wrong with an annotation. The texts name no value: they stand in a server's status.
var (
	ErrName        = errors.New("the name is no HTTP token")
	ErrRepeated    = errors.New("the name stands twice")
	ErrType        = errors.New("the type is not integer, string or boolean")
	ErrUnreachable = errors.New("the parameter is not reached by properties alone")
)

// Header is one annotated parameter.
type Header struct {
	Name string   // of the HTTP header, in canonical form, for example "Mcp-Param-Region"
	Path []string // names of properties, from the arguments object down
	Type string   // "integer", "string" or "boolean"
}

// OfTool returns the headers of a tool by its definition, raw JSON with a member inputSchema. Most tools have none, and
// that is found out fast. The errors are those of [OfSchema]. A definition that cannot be read annotates nothing.
func OfTool(definition []byte) ([]Header, error) {
	if !bytes.Contains(definition, []byte(Annotation)) {
		return nil, nil
	}
	fields, err := wire.Fields(nil, definition)
	if err != nil {
		return nil, nil //nolint:nilerr // no object: annotates nothing
	}
	return OfSchema(wire.Lookup(fields, "inputSchema").Of(definition))
}

// OfSchema returns the headers of an input schema, raw JSON, in the schema's order. The error is one of those above: the
// tool is then not to be offered to clients that know these headers (M-64).
func OfSchema(schema []byte) ([]Header, error) {
	w := walk{names: make(map[string]struct{})}
	if err := w.schema(schema, nil, true, 0); err != nil {
		return nil, err
	}
	return w.headers, nil
}

type walk struct {
	headers []Header
	names   map[string]struct{} // in canonical form
}

// schema walks one schema. reachable says that only properties led here.
func (w *walk) schema(raw []byte, path []string, reachable bool, depth int) error {
	if !wire.IsObject(raw) || depth > wire.MaxDepth {
		return nil
	}
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return nil //nolint:nilerr // the definition was valid JSON, so a key stands twice: dispatch refuses that elsewhere
	}
	if name := wire.Lookup(fields, Annotation); name.Present() {
		if err := w.annotation(name.Of(raw), wire.Lookup(fields, "type").Of(raw), path, reachable); err != nil {
			return err
		}
	}
	for _, f := range fields {
		if err := w.keyword(string(f.Name), f.Of(raw), path, reachable, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) annotation(name, kind []byte, path []string, reachable bool) error {
	if !reachable {
		return ErrUnreachable
	}
	text, _ := wire.DecodeString(name)
	if !isToken(text) {
		return ErrName
	}
	h := Header{Name: http.CanonicalHeaderKey(Prefix + text), Path: path}
	if _, twice := w.names[h.Name]; twice {
		return ErrRepeated
	}
	w.names[h.Name] = struct{}{}
	switch h.Type, _ = wire.DecodeString(kind); h.Type {
	case "integer", "string", "boolean":
	default:
		return fmt.Errorf("%s: %w", h.Name, ErrType)
	}
	w.headers = append(w.headers, h)
	return nil
}

// keyword goes on into what a keyword holds, as far as that is schemas: a default or an example may hold anything.
func (w *walk) keyword(name string, raw []byte, path []string, reachable bool, depth int) error {
	switch name {
	case "properties":
		return w.named(raw, path, reachable, depth)
	case "patternProperties", "dependentSchemas", "$defs", "definitions":
		return w.named(raw, path, false, depth)
	case "items", "additionalItems", "contains", "additionalProperties", "propertyNames", "unevaluatedItems",
		"unevaluatedProperties", "not", "if", "then", "else", "contentSchema":
		if !wire.IsBatch(raw) { // items may be an array in older dialects
			return w.schema(raw, path, false, depth)
		}
		return w.each(raw, path, depth)
	case "allOf", "anyOf", "oneOf", "prefixItems":
		return w.each(raw, path, depth)
	}
	return nil
}

// named walks an object whose members are schemas.
func (w *walk) named(raw []byte, path []string, reachable bool, depth int) error {
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return nil //nolint:nilerr // no object: holds no schemas
	}
	for _, f := range fields {
		below := append(path[:len(path):len(path)], string(f.Name))
		if err := w.schema(f.Of(raw), below, reachable, depth); err != nil {
			return err
		}
	}
	return nil
}

// each walks an array of schemas.
func (w *walk) each(raw []byte, path []string, depth int) error {
	elements, err := wire.Elements(nil, raw)
	if err != nil {
		return nil //nolint:nilerr // no array: holds no schemas
	}
	for _, e := range elements {
		if err := w.schema(e.Of(raw), path, false, depth); err != nil {
			return err
		}
	}
	return nil
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// Value returns the raw value of the parameter in arguments, a raw object; nil if it is absent.
func (h *Header) Value(arguments []byte) []byte {
	raw := arguments
	for _, name := range h.Path {
		if !wire.IsObject(raw) {
			return nil
		}
		var room [8]wire.Field
		fields, err := wire.Fields(room[:0], raw)
		if err != nil {
			return nil
		}
		raw = wire.Lookup(fields, name).Of(raw)
	}
	return raw
}
