// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// Secrets reads the values that a manifest only names. Its zero value refuses both forms.
type Secrets struct {
	// LookupEnv answers {from_env: NAME}; os.LookupEnv, usually.
	LookupEnv func(name string) (string, bool)
	// ReadFile answers {from_file: PATH} with a path below or beside the manifest; os.ReadFile, usually. One line break at
	// the end of the file is dropped.
	ReadFile func(path string) ([]byte, error)
}

// Set is a configuration read from manifests.
type Set struct {
	// Resources in the order of the documents, ready for an ApplyRequest.
	Resources []*adminv1.ManifestResource

	places []map[string]Position // by resource: field path → position
}

// Load turns manifests into resources. Everything wrong in them is reported at once, as [Problems]: text that is not YAML,
// unknown kinds and fields (with the nearest known one), fields that this version does not enforce, fields that Penstock sets
// itself, values of the wrong type, two documents for one resource, secrets that are written out or cannot be read.
func Load(sources []Source, secrets Secrets) (*Set, error) {
	l := loader{secrets: secrets, seen: map[string]Position{}}
	for _, s := range sources {
		l.load(s)
	}
	if len(l.problems) > 0 {
		return nil, Problems(l.problems[:min(len(l.problems), maxProblems)])
	}
	return &l.set, nil
}

// Where returns the place in the manifests of a field path of an ApplyRequest, for example "resources[2].gateway.tools[0].tool":
// the field itself, or the innermost thing around it that the manifest has. The second result is false for a path that does not
// begin with one of the resources.
func (s *Set) Where(path string) (Position, bool) {
	rest, ok := strings.CutPrefix(path, "resources[")
	if !ok {
		return Position{}, false
	}
	number, rest, _ := strings.Cut(rest, "]")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(s.places) {
		return Position{}, false
	}
	_, field, _ := strings.Cut(strings.TrimPrefix(rest, "."), ".") // drop the name of the oneof's field
	for {
		if at, ok := s.places[i][field]; ok {
			return at, true
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
}

// Without returns the set without the resources of one kind, for example "Gateway".
func (s *Set) Without(kind string) *Set {
	rest := &Set{}
	for i, r := range s.Resources {
		if k, _ := Kind(r); k != kind {
			rest.Resources = append(rest.Resources, r)
			rest.places = append(rest.places, s.places[i])
		}
	}
	return rest
}

// loader collects resources and problems over all sources.
type loader struct {
	secrets  Secrets
	set      Set
	seen     map[string]Position // "Gateway eng" → where it was first
	problems []Problem

	source Source              // being read
	places map[string]Position // of the resource being read
}

func (l *loader) problem(at Position, format string, a ...any) {
	l.problems = append(l.problems, problemf(at, format, a...))
}

func (l *loader) at(n *yaml.Node) Position {
	return Position{File: l.source.Name, Line: n.Line, Column: n.Column}
}

// load reads the documents of one source, up to the first that is not YAML.
func (l *loader) load(s Source) {
	l.source = s
	d := yaml.NewDecoder(bytes.NewReader(yamlText(s.Data)))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			l.syntax(err)
			return
		}
		if len(doc.Content) == 0 {
			continue
		}
		l.document(doc.Content[0])
	}
}

// yamlError takes the line out of a parser's message.
var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func (l *loader) syntax(err error) {
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		l.problem(Position{File: l.source.Name}, "not YAML: %v", err)
		return
	}
	line, _ := strconv.Atoi(m[1]) // no line is line 0
	if line == 0 || strings.HasPrefix(m[2], "did not find expected") {
		line++ // the parser counts lines from 0 where its scanner counts from 1
	}
	l.problem(Position{File: l.source.Name, Line: line}, "not YAML: %s", m[2])
}

// document reads a resource, or a list of resources, which is how JSON holds several.
func (l *loader) document(n *yaml.Node) {
	switch {
	case n.Kind == yaml.SequenceNode:
		for _, one := range n.Content {
			l.document(one)
		}
	case isNull(n): // nothing between two separators
	case n.Kind != yaml.MappingNode:
		l.problem(l.at(n), "want a resource (kind, name, fields), got %s", describe(n))
	default:
		l.resource(n)
	}
}

// resource reads one resource.
func (l *loader) resource(n *yaml.Node) {
	kind, body := l.kind(n)
	if kind == "" {
		return
	}
	slot := kindField(kind)
	if slot == nil {
		l.unknownKind(l.at(n), kind)
		return
	}
	r := &adminv1.ManifestResource{}
	m := r.ProtoReflect().NewField(slot).Message()
	r.ProtoReflect().Set(slot, protoreflect.ValueOfMessage(m))
	l.places = map[string]Position{"": l.at(n)}
	before := len(l.problems)
	l.message(m, body, "")
	name := m.Get(slot.Message().Fields().ByName("name")).String()
	if name == "" && len(l.problems) == before {
		l.problem(l.at(n), "a %s needs a name", kind)
	}
	if name != "" {
		l.duplicate(kind+" "+name, l.at(n))
	}
	l.set.Resources = append(l.set.Resources, r)
	l.set.places = append(l.set.places, l.places)
}

func (l *loader) duplicate(key string, at Position) {
	if first, ok := l.seen[key]; ok {
		l.problem(at, "%s was already described at %s", key, first)
		return
	}
	l.seen[key] = at
}

// kind splits a document into its kind and the rest.
func (l *loader) kind(n *yaml.Node) (string, *yaml.Node) {
	body := *n
	body.Content = nil
	kind := ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value != "kind" {
			body.Content = append(body.Content, key, value)
			continue
		}
		if kind != "" {
			l.problem(l.at(key), "kind is given twice")
		}
		kind = value.Value
	}
	if kind == "" {
		l.problem(l.at(n), "a resource needs a kind: %s", strings.Join(Kinds(), ", "))
	}
	return kind, &body
}

func (l *loader) unknownKind(at Position, kind string) {
	switch kind {
	case "BearerToken":
		l.problem(at, "bearer tokens do not stand in manifests; make one with: penstock token create")
	case "Tool":
		l.problem(at, "tools do not stand in manifests; discovery finds them: penstock server discover NAME")
	default:
		l.problem(at, "unknown kind %q%s", kind, didYouMean(kind, Kinds()))
	}
}

// Kinds returns the kinds that a manifest may hold, for example "Gateway".
func Kinds() []string {
	var kinds []string
	fields := manifestFields()
	for i := range fields.Len() {
		kinds = append(kinds, string(fields.Get(i).Message().Name()))
	}
	return kinds
}

// Kind returns the kind and the name of a resource, for example "Gateway" and "eng"; both are empty if none is set.
func Kind(r *adminv1.ManifestResource) (kind, name string) {
	m := Message(r)
	if m == nil {
		return "", ""
	}
	d := m.ProtoReflect().Descriptor()
	return string(d.Name()), m.ProtoReflect().Get(d.Fields().ByName("name")).String()
}

// Message returns the resource inside, for example a *resourcev1.Gateway; nil if none is set.
func Message(r *adminv1.ManifestResource) proto.Message {
	m := r.ProtoReflect()
	slot := m.WhichOneof(m.Descriptor().Oneofs().ByName("resource"))
	if slot == nil {
		return nil
	}
	return m.Get(slot).Message().Interface()
}

func kindField(kind string) protoreflect.FieldDescriptor {
	fields := manifestFields()
	for i := range fields.Len() {
		if string(fields.Get(i).Message().Name()) == kind {
			return fields.Get(i)
		}
	}
	return nil
}

func manifestFields() protoreflect.FieldDescriptors {
	return (&adminv1.ManifestResource{}).ProtoReflect().Descriptor().Fields()
}
