// SPDX-License-Identifier: Apache-2.0

package search

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// maxProblems is how many problems of one call are told.
const maxProblems = 20

// problem is one thing that is wrong with arguments.
type problem struct {
	path string // "$" for the arguments object, "$.items[0].name"
	text string
}

// fit checks the arguments of a call against the tool's input schema (G-23): JSON Schema 2020-12, or what $schema says. A schema
// that cannot be read, leads outside of itself, or has no bound is not checked: its server checks what it means by it. A format is a note
// about a value and not checked either, and so is a pattern that RE2 does not know.
func (s *Search) fit(t *view.Tool, arguments []byte) []problem {
	schema := s.schemas.of(t, func() *jsonschema.Schema { return compileSchema(t.Body.Bytes()) })
	if schema == nil {
		return nil
	}
	if arguments == nil {
		arguments = []byte(`{}`)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(arguments))
	if err != nil {
		return []problem{{"$", "it is not JSON"}} // not reached: the request was scanned
	}
	var failed *jsonschema.ValidationError
	if !errors.As(schema.Validate(value), &failed) {
		return nil
	}
	list := leaves(nil, failed, value)
	slices.SortFunc(list, func(a, b problem) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.text, b.text))
	})
	return list
}

// schemaURL names the schema inside the compiler. Nothing is fetched.
const schemaURL = "penstock:inputSchema"

// compileSchema reads the input schema of a definition, nil if there is none that can be checked.
func compileSchema(definition []byte) *jsonschema.Schema {
	raw := wire.Get(definition, "inputSchema")
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
	schema, err := c.Compile(schemaURL)
	if err != nil || !isBounded(schema) {
		return nil
	}
	return schema
}

// nowhere loads nothing: a schema of a server must not make the node fetch what it names.
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

// leaves collects what is wrong, each with its path in the arguments.
func leaves(list []problem, e *jsonschema.ValidationError, root any) []problem {
	if len(list) >= maxProblems {
		return list
	}
	if len(e.Causes) == 0 {
		for _, text := range say(e) {
			p := problem{path(root, e.InstanceLocation), text}
			if !slices.Contains(list, p) && len(list) < maxProblems {
				list = append(list, p)
			}
		}
		return list
	}
	for _, cause := range e.Causes {
		list = leaves(list, cause, root)
	}
	return list
}

// say puts a problem into words. What is most often wrong is said in the words of the signature.
func say(e *jsonschema.ValidationError) []string {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		var out []string
		for _, name := range k.Missing {
			out = append(out, "it lacks "+string(wire.Quote(name))+", which is required")
		}
		return out
	case *kind.AdditionalProperties:
		var out []string
		for _, name := range k.Properties {
			out = append(out, "it has "+string(wire.Quote(clip(name)))+", which is none of its properties")
		}
		return out
	case *kind.Type:
		return []string{fmt.Sprintf("it is of type %s, and must be %s", k.Got, strings.Join(k.Want, " or "))}
	case *kind.Maximum:
		return []string{"it must be at most " + number(k.Want)}
	case *kind.Minimum:
		return []string{"it must be at least " + number(k.Want)}
	case *kind.ExclusiveMaximum:
		return []string{"it must be less than " + number(k.Want)}
	case *kind.ExclusiveMinimum:
		return []string{"it must be more than " + number(k.Want)}
	case *kind.FalseSchema:
		return []string{"nothing is allowed here"}
	}
	if out := e.BasicOutput(); out.Error != nil {
		return []string{out.Error.String()}
	}
	return []string{"it does not fit"}
}

// number writes a bound in full: one of 64 bits loses digits as a floating-point number.
func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// path writes where in the arguments a value is: "$" is the arguments object.
func path(root any, location []string) string {
	var b strings.Builder
	b.WriteByte('$')
	at := root
	for _, step := range location {
		if items, ok := at.([]any); ok {
			b.WriteString("[" + step + "]")
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(items) {
				at = items[i]
			}
			continue
		}
		if object, ok := at.(map[string]any); ok {
			at = object[step]
		}
		if name := parameter(step); name == step && !strings.ContainsAny(step, ".-$@") {
			b.WriteString("." + step)
		} else {
			b.WriteString("[" + string(wire.Quote(clip(step))) + "]")
		}
	}
	return b.String()
}
