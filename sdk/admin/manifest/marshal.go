// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// maxFlow is how long a value may be to stand on one line as {a: b}.
const maxFlow = 100

// Marshal writes resources as YAML documents that [Load] reads back to the same resources. Output-only fields, etags and secrets
// are left out.
func Marshal(resources []*adminv1.ManifestResource) ([]byte, error) {
	if len(resources) == 0 {
		return nil, nil // an encoder that was given nothing cannot be closed
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, r := range resources {
		doc, err := document(r)
		if err != nil {
			return nil, err
		}
		flow(doc)
		doc.Style = 0
		if err := e.Encode(doc); err != nil {
			return nil, fmt.Errorf("write manifest: %w", err)
		}
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return b.Bytes(), nil
}

// MarshalJSON writes resources as one JSON array, in the same form.
func MarshalJSON(resources []*adminv1.ManifestResource) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("[")
	for i, r := range resources {
		doc, err := document(r)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(",")
		}
		if err := writeJSON(&b, doc); err != nil {
			return nil, err
		}
	}
	b.WriteString("]")
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// document makes the tree of one resource.
func document(r *adminv1.ManifestResource) (*yaml.Node, error) {
	m := Message(r)
	if m == nil {
		return nil, errors.New("write manifest: a resource without a kind")
	}
	kind, _ := Kind(r)
	doc, err := mappingOf(m.ProtoReflect())
	if err != nil {
		return nil, err
	}
	doc.Content = slices.Concat([]*yaml.Node{text("kind"), text(kind)}, doc.Content)
	return doc, nil
}

// mappingOf writes the fields that are set, in the order of the contract, without those a manifest may not hold.
func mappingOf(m protoreflect.Message) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) || outputOnly(string(m.Descriptor().Name()), string(f.Name())) || isSecret(f) || f.Name() == "etag" {
			continue
		}
		v, err := nodeOf(f, m.Get(f))
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, text(string(f.Name())), v)
	}
	return n, nil
}

func nodeOf(f protoreflect.FieldDescriptor, v protoreflect.Value) (*yaml.Node, error) {
	switch {
	case f.IsMap():
		return mapOf(f, v.Map())
	case f.IsList():
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.List().Len() {
			e, err := singleOf(f, v.List().Get(i))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, e)
		}
		return n, nil
	default:
		return singleOf(f, v)
	}
}

func mapOf(f protoreflect.FieldDescriptor, entries protoreflect.Map) (*yaml.Node, error) {
	var keys []string
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.Sort(keys)
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range keys {
		v, err := singleOf(f.MapValue(), entries.Get(protoreflect.ValueOfString(k).MapKey()))
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, text(k), v)
	}
	return n, nil
}

func singleOf(f protoreflect.FieldDescriptor, v protoreflect.Value) (*yaml.Node, error) {
	switch f.Kind() {
	case protoreflect.StringKind:
		return text(v.String()), nil
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByNumber(v.Enum())
		if value == nil {
			return nil, fmt.Errorf("write manifest: %s has the unknown value %d", f.FullName(), v.Enum())
		}
		return text(shortEnum(value)), nil
	case protoreflect.MessageKind:
		return messageOf(v.Message())
	case protoreflect.BoolKind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: v.String()}, nil
	case protoreflect.Uint32Kind, protoreflect.Int32Kind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: v.String()}, nil
	default:
		return nil, fmt.Errorf("write manifest: %s is a %s", f.FullName(), f.Kind())
	}
}

func messageOf(m protoreflect.Message) (*yaml.Node, error) {
	switch v := m.Interface().(type) {
	case *durationpb.Duration:
		return text(shortDuration(v.AsDuration())), nil
	case *structpb.Struct:
		return freeOf(v.AsMap())
	case proto.Message:
		return mappingOf(m)
	default:
		return nil, fmt.Errorf("write manifest: %s is no message", m.Descriptor().FullName())
	}
}

// shortDuration is "1m" for a minute where Go writes "1m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// freeOf writes a free JSON value.
func freeOf(v any) (*yaml.Node, error) {
	switch v := v.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			value, err := freeOf(v[k])
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, text(k), value)
		}
		return n, nil
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			value, err := freeOf(e)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
		return n, nil
	case string:
		return text(v), nil
	default: // number, boolean or nothing
		n := &yaml.Node{}
		if err := n.Encode(v); err != nil {
			return nil, fmt.Errorf("write manifest: %w", err)
		}
		return n, nil
	}
}

// paragraph is text over several lines that is safe to write as it is: other text is quoted, because the encoder does not read
// back everything that it writes unquoted.
var paragraph = regexp.MustCompile(`^(?:[^\s\pC](?:[^\pC\pZ]| )*\n)+(?:[^\s\pC](?:[^\pC\pZ]| )*)?$`)

// text is a string; the encoder quotes it where it would be read as something else.
func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case paragraph.MatchString(s):
		n.Style = yaml.LiteralStyle
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// flow sets values that are short on one line and returns how long n is when written so; more than maxFlow if it cannot be.
func flow(n *yaml.Node) int {
	length := len(n.Value) + 2
	if strings.ContainsAny(n.Value, "\n\r") {
		length = maxFlow + 1
	}
	for _, c := range n.Content {
		length += flow(c)
	}
	if n.Kind != yaml.ScalarNode && length <= maxFlow {
		n.Style = yaml.FlowStyle
	}
	return length
}

// writeJSON writes a tree as JSON, members in their order.
func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, n.Content[i]); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, c); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	default:
		var v any
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
		b.Write(data)
		return nil
	}
}
