// SPDX-License-Identifier: Apache-2.0

package inputschema

import (
	"bytes"
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxProblems is how many problems of one value are told.
const maxProblems = 20

// Problem is one thing that is wrong with a value.
type Problem struct {
	Path string // "$" for the value itself, "$.items[0].name"
	Text string // a part of a sentence about what is there, for example "it must be at most 5"
}

// Schema is an input schema that can be checked. It is safe for concurrent use.
type Schema struct{ root *jsonschema.Schema }

// schemaURL names the schema inside the compiler. Nothing is fetched.
const schemaURL = "penstock:inputSchema"

// Compile reads an input schema, a raw JSON object: JSON Schema 2020-12, or what $schema says. It is nil for one that is not checked,
// because it cannot be read, leads outside of itself, or has no bound: the tool's server checks what it means by it. A format is a
// note about a value and not checked either, and so is a pattern that RE2 does not know.
func Compile(raw []byte) *Schema {
	if raw == nil {
		return nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	c.UseRegexpEngine(lenient)
	for _, name := range []string{
		"json-pointer", "relative-json-pointer", "uuid", "duration", "period", "ipv4", "ipv6", "hostname", "email", "date", "time", "date-time",
		"uri", "iri", "uri-reference", "iri-reference", "uri-template", "semver", "regex",
	} {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(any) error { return nil }}) // drafts before 2019-09 would check
	}
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil
	}
	root, err := c.Compile(schemaURL)
	if err != nil || !isBounded(root) {
		return nil
	}
	return &Schema{root}
}

// Check returns what is wrong with a value, raw JSON, sorted by path, at most 20 things; nothing for a nil Schema.
func (s *Schema) Check(raw []byte) []Problem {
	if s == nil {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return []Problem{{"$", "it is not JSON"}}
	}
	var failed *jsonschema.ValidationError
	if !errors.As(s.root.Validate(value), &failed) {
		return nil
	}
	list := leaves(nil, failed, value)
	slices.SortFunc(list, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Text, b.Text))
	})
	return list
}

// Property returns the schema of one member that the input schema lists under properties, nil if it lists none of that name.
func (s *Schema) Property(name string) *Schema {
	if s == nil || s.root.Properties[name] == nil {
		return nil
	}
	return &Schema{s.root.Properties[name]}
}

// nowhere loads nothing: a schema of a server must not make the process fetch what it names.
type nowhere struct{}

// Load implements [jsonschema.URLLoader].
func (nowhere) Load(string) (any, error) { return nil, errors.New("schemas are not fetched") }

// lenient is RE2, and everything where that does not know a pattern.
func lenient(pattern string) (jsonschema.Regexp, error) {
	if re, err := regexp.Compile(pattern); err == nil {
		return re, nil
	}
	return everything(pattern), nil
}

type everything string

// MatchString implements [jsonschema.Regexp].
func (everything) MatchString(string) bool { return true }

// String implements [jsonschema.Regexp].
func (e everything) String() string { return string(e) }
