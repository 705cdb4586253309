// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// message fills m from a mapping. path is the field path of m within its resource, "" for the resource itself.
func (l *loader) message(m protoreflect.Message, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		l.notMessage(m.Descriptor(), n)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f := l.field(m, key)
		if f == nil {
			continue
		}
		at := join(path, string(f.Name()))
		if _, twice := l.places[at]; twice {
			l.problem(l.at(key), "%s is given twice", key.Value)
			continue
		}
		l.places[at] = l.at(key)
		if o := f.ContainingOneof(); o != nil && m.WhichOneof(o) != nil {
			l.problem(l.at(key), "%s and %s exclude each other", m.WhichOneof(o).Name(), f.Name())
			continue
		}
		l.value(m, f, value, at)
	}
}

// notMessage says what is to be written in place of n.
func (l *loader) notMessage(d protoreflect.MessageDescriptor, n *yaml.Node) {
	fields := writable(d)
	if len(fields) == 0 {
		l.problem(l.at(n), "want {}, got %s", describe(n))
		return
	}
	l.problem(l.at(n), "want fields of %s, got %s; they are %s, and {} sets none", d.Name(), describe(n), strings.Join(fields, ", "))
}

// field finds the field that a key names, by proto name or lowerCamel, and says what is wrong with one that may not stand here.
func (l *loader) field(m protoreflect.Message, key *yaml.Node) protoreflect.FieldDescriptor {
	d := m.Descriptor()
	message, name := string(d.Name()), key.Value
	f := d.Fields().ByName(protoreflect.Name(name))
	if f == nil {
		f = d.Fields().ByJSONName(name)
	}
	switch {
	case key.Tag == "!!merge":
		l.problem(l.at(key), "merge keys (<<) are not supported; write the fields out")
	case f != nil && outputOnly(message, string(f.Name())):
		l.problem(l.at(key), "%s is set by Penstock itself; remove it (penstock export leaves it out)", name)
	case f != nil:
		return f
	case slices.ContainsFunc(plannedFields(message), func(p string) bool { return p == name || lowerCamel(p) == name }):
		l.problem(l.at(key), "%s of %s is not enforced by this version yet; remove it", name, message)
	default:
		l.problem(l.at(key), "unknown field %q of %s%s", name, message, didYouMean(name, writable(d)))
	}
	return nil
}

// writable returns the names of the fields that may stand in a manifest.
func writable(d protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range d.Fields().Len() {
		if name := string(d.Fields().Get(i).Name()); !outputOnly(string(d.Name()), name) {
			names = append(names, name)
		}
	}
	return names
}

// value sets one field of m.
func (l *loader) value(m protoreflect.Message, f protoreflect.FieldDescriptor, n *yaml.Node, path string) {
	n = resolve(n)
	switch {
	case n == nil:
		l.problem(l.places[path], "aliases are nested too deeply")
	case isNull(n):
		l.null(f, n)
	case f.IsMap():
		l.mapping(m, f, n, path)
	case f.IsList():
		l.list(m, f, n, path)
	case isSecret(f):
		if s, ok := l.secret(n); ok {
			m.Set(f, protoreflect.ValueOfString(s))
		}
	default:
		if v, ok := l.one(m.NewField(f), f, n, path); ok {
			m.Set(f, v)
		}
	}
}

// null is no value, except where an empty message is one: there it is more likely a forgotten {}.
func (l *loader) null(f protoreflect.FieldDescriptor, n *yaml.Node) {
	if f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() && f.Message().Fields().Len() == 0 {
		l.problem(l.at(n), "%s has no value; write %s: {}", f.Name(), f.Name())
	}
}

func (l *loader) mapping(m protoreflect.Message, f protoreflect.FieldDescriptor, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		l.problem(l.at(n), "want a mapping, got %s", describe(n))
		return
	}
	entries := m.Mutable(f).Map()
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		at := fmt.Sprintf("%s[%q]", path, key.Value)
		if _, twice := l.places[at]; twice {
			l.problem(l.at(key), "%s is given twice", key.Value)
			continue
		}
		l.places[at] = l.at(key)
		if value == nil {
			l.problem(l.at(key), "aliases are nested too deeply")
			continue
		}
		if isSecret(f) {
			if s, ok := l.secret(value); ok {
				entries.Set(protoreflect.ValueOfString(key.Value).MapKey(), protoreflect.ValueOfString(s))
			}
			continue
		}
		if v, ok := l.one(protoreflect.Value{}, f.MapValue(), value, at); ok {
			entries.Set(protoreflect.ValueOfString(key.Value).MapKey(), v)
		}
	}
}

func (l *loader) list(m protoreflect.Message, f protoreflect.FieldDescriptor, n *yaml.Node, path string) {
	if n.Kind != yaml.SequenceNode {
		l.problem(l.at(n), "want a list, got %s", describe(n))
		return
	}
	list := m.Mutable(f).List()
	for i, e := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		l.places[at] = l.at(e)
		e = resolve(e)
		if e == nil {
			l.problem(l.places[at], "aliases are nested too deeply")
			continue
		}
		if v, ok := l.one(list.NewElement(), f, e, at); ok {
			list.Append(v)
		}
	}
}

// one reads a single value: a scalar, or a message into fresh.
func (l *loader) one(fresh protoreflect.Value, f protoreflect.FieldDescriptor, n *yaml.Node, path string) (protoreflect.Value, bool) {
	if f.Kind() != protoreflect.MessageKind {
		v, err := scalar(f, n)
		if err != nil {
			l.problem(l.at(n), "%s: %v", f.Name(), err)
		}
		return v, err == nil
	}
	switch f.Message().FullName() {
	case "google.protobuf.Duration":
		d, err := duration(n)
		if err != nil {
			l.problem(l.at(n), "%s: %v", f.Name(), err)
			return fresh, false
		}
		return protoreflect.ValueOfMessage(d.ProtoReflect()), true
	case "google.protobuf.Struct":
		s, err := object(n)
		if err != nil {
			l.problem(l.at(n), "%s: %v", f.Name(), err)
			return fresh, false
		}
		return protoreflect.ValueOfMessage(s.ProtoReflect()), true
	}
	l.message(fresh.Message(), n, path)
	return fresh, true
}

// object reads a free JSON object.
func object(n *yaml.Node) (*structpb.Struct, error) {
	var v map[string]any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("want an object, got %s", describe(n))
	}
	s, err := structpb.NewStruct(v)
	if err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	return s, nil
}

// maxAliases bounds how many aliases lead to one value.
const maxAliases = 8

// resolve follows aliases; nil if there are too many.
func resolve(n *yaml.Node) *yaml.Node {
	for range maxAliases {
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// isSecret reports whether the contract marks the field as one whose values must not be shown.
func isSecret(f protoreflect.FieldDescriptor) bool {
	o, ok := f.Options().(*descriptorpb.FieldOptions)
	return ok && o.GetDebugRedact()
}

// describe names what stands at a node.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	default:
		return fmt.Sprintf("%q", n.Value)
	}
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// lowerCamel is the JSON name of a proto name.
func lowerCamel(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}
