// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func schemaOf(t *testing.T, definition []byte, member string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(wire.Get(definition, member)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:s", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("mem:s")
}

func fits(t *testing.T, s *jsonschema.Schema, raw []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

// TestDefinitions: what clients read of the two tools is what the tools do: their schemas take what they take, and results fit
// the output schema, with what it requires and nothing that it does not know.
func TestDefinitions(t *testing.T) {
	s := open(t, search.Config{})
	for _, name := range s.Names() {
		definition := s.Definition(name)
		if got, _ := wire.DecodeString(wire.Get(definition, "name")); !compile.Reserved(name) || got != name || !wire.Valid(definition) {
			t.Errorf("%s is defined as %s", name, definition)
		}
	}
	if s.Definition("nope") != nil {
		t.Error("a tool that is none has a definition")
	}
	c := caller(publish(github()...), wire.Latest)
	input, output := schemaOf(t, s.Definition("search_tools"), "inputSchema"), schemaOf(t, s.Definition("search_tools"), "outputSchema")
	for _, raw := range []string{
		`{"query":"issue"}`, `{"query":"issue","limit":1,"detail":"schema"}`, `{"query":"qqqqzz","server":"jira"}`, `{"query":""}`, `{"query":"x","limit":21}`,
		`{"limit":1}`, `{"query":"x","more":1}`, `{"query":"x","detail":"all"}`, `{"query":"x","limit":1.5}`, `{"query":"x","limit":2.0}`, `{"query":"x","server":""}`,
	} {
		out, err := s.Find(t.Context(), c, []byte(raw), available)
		if fit := fits(t, input, []byte(raw)); (fit == nil) != (err == nil) {
			t.Errorf("%s: the schema says %v, the tool %v", raw, fit, err)
		}
		if err != nil {
			continue
		}
		if fit := fits(t, output, read(t, out).StructuredContent); fit != nil {
			t.Errorf("%s: %v", raw, fit)
		}
	}
	input = schemaOf(t, s.Definition("run_tool"), "inputSchema")
	for _, raw := range []string{
		`{"tool_name":"x"}`, `{"tool_name":"x","arguments":{}}`, `{"tool_name":"x","tool_args":{}}`, `{"tool_name":""}`, `{}`, `{"tool_name":"x","arguments":[]}`,
	} {
		_, err := s.Open(c, []byte(raw))
		if fit := fits(t, input, []byte(raw)); (fit == nil) != (err == nil) {
			t.Errorf("%s: the schema says %v, the tool %v", raw, fit, err)
		}
	}
}
