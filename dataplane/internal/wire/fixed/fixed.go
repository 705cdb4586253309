// SPDX-License-Identifier: Apache-2.0

package fixed

import (
	"bytes"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// In returns arguments of a tool, a raw object or nil, with the fixed ones in them: nil if there are neither. It returns a fault of Kind
// Invalid if arguments is no JSON object.
func In(arguments []byte, t *compile.Tool) ([]byte, error) {
	if len(t.Fixed) == 0 {
		return arguments, nil
	}
	if arguments == nil {
		return object(t.Fixed), nil
	}
	var edits wire.Edits
	if err := edit(&edits, arguments, wire.Span{End: len(arguments)}, t); err != nil {
		return nil, err
	}
	return edits.AppendTo(make([]byte, 0, len(arguments)+size(t.Fixed)), arguments), nil
}

// Request returns body, the raw request of a call of a tool that m is the scan of, with the fixed arguments in it; every other byte is as
// it came.
func Request(body []byte, m *wire.Message, t *compile.Tool) ([]byte, error) {
	var edits wire.Edits
	if at := m.P.Arguments; !at.Present() {
		edits.Insert(m.Params.Span, "arguments", object(t.Fixed))
	} else if err := edit(&edits, body, at.Span, t); err != nil {
		return nil, err
	}
	return edits.AppendTo(make([]byte, 0, len(body)+size(t.Fixed)+len(`"arguments":{},`)), body), nil
}

// edit takes out of the object at a span of text whatever has the name of a fixed argument, however it is written and how often it
// stands there, and whatever a server may take for one: encoding/json does not tell "Env" from "env". Then it puts the fixed ones at
// its end. What is taken out is not told of: definitions are shown without these names.
func edit(e *wire.Edits, text []byte, at wire.Span, t *compile.Tool) error {
	var room [16]wire.Field
	members, err := wire.Members(room[:0], at.Of(text))
	if err != nil {
		return err //nolint:wrapcheck // a fault with the answer
	}
	stay := false
	for i := range members {
		m := members[i].Member
		if !t.Fixes(members[i].Name) {
			stay = true
			continue
		}
		m.Key, m.Start, m.End = m.Key+at.Start, m.Start+at.Start, m.End+at.Start
		e.Delete(m)
	}
	end := append(make([]byte, 0, size(t.Fixed)), ',')
	if !stay {
		end = end[:0]
	}
	end = append(appendMembers(end, t.Fixed), '}')
	e.Replace(wire.Span{Start: at.End - 1, End: at.End}, end)
	return nil
}

func isFixed(list []compile.FixedArgument, name []byte) bool {
	return slices.ContainsFunc(list, func(f compile.FixedArgument) bool { return f.Name == string(name) })
}

func object(list []compile.FixedArgument) []byte {
	return append(appendMembers(append(make([]byte, 0, size(list)), '{'), list), '}')
}

func appendMembers(b []byte, list []compile.FixedArgument) []byte {
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(wire.AppendString(b, f.Name), ':'), f.Value...)
	}
	return b
}

// size is about what the fixed arguments take.
func size(list []compile.FixedArgument) (n int) {
	for _, f := range list {
		n += len(f.Name) + len(f.Value) + len(`"":,`)
	}
	return n + len(`{}`)
}

// Hide returns a tool's definition without the fixed arguments in its input schema: they are neither among its properties nor
// required. Every other byte is as the server sent it. It returns a fault of Kind Invalid if the definition is no JSON object.
func Hide(definition []byte, list []compile.FixedArgument) ([]byte, error) {
	var edits wire.Edits
	err := each(definition, wire.Span{End: len(definition)}, "inputSchema", func(schema wire.Field) error {
		if err := each(definition, schema.Span, "properties", func(properties wire.Field) error {
			return each(definition, properties.Span, "", func(p wire.Field) error {
				if isFixed(list, p.Name) {
					edits.Delete(p.Member)
				}
				return nil
			})
		}); err != nil {
			return err
		}
		return each(definition, schema.Span, "required", func(required wire.Field) error {
			return require(&edits, definition, required, list)
		})
	})
	return edits.AppendTo(make([]byte, 0, len(definition)), definition), err
}

// each calls fn for the members of the object at a span of text that have a name, for all where it is empty; their spans are of the
// text. What is no object has none.
func each(text []byte, at wire.Span, name string, fn func(wire.Field) error) error {
	if !wire.IsObject(bytes.TrimLeft(at.Of(text), " \t\r\n")) {
		return nil
	}
	members, err := wire.Members(nil, at.Of(text))
	if err != nil {
		return err //nolint:wrapcheck // a fault with the answer
	}
	for _, m := range members {
		if name != "" && string(m.Name) != name {
			continue
		}
		m.Key, m.Start, m.End = m.Key+at.Start, m.Start+at.Start, m.End+at.Start
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// require takes the fixed arguments off the list of those that are required. A list without elements goes: before draft 6 of JSON
// Schema it is not allowed.
func require(e *wire.Edits, text []byte, required wire.Field, list []compile.FixedArgument) error {
	raw := required.Of(text)
	elements, err := wire.Elements(nil, raw)
	if err != nil {
		return nil //nolint:nilerr // no list: it requires nothing that could be read
	}
	out, kept := []byte{'['}, 0
	for _, one := range elements {
		if name, ok := wire.DecodeString(one.Of(raw)); ok && isFixed(list, []byte(name)) {
			continue
		}
		if kept++; kept > 1 {
			out = append(out, ',')
		}
		out = append(out, one.Of(raw)...)
	}
	switch kept {
	case len(elements):
	case 0:
		e.Delete(required.Member)
	default:
		e.Replace(required.Span, append(out, ']'))
	}
	return nil
}
