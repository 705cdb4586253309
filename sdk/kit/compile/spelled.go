// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/json"

	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
	"github.com/penstockhq/penstock/sdk/kit/compile/spelling"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonArguments (Invalid): arguments do not fit the input schema of their tool, or have a name that a server may take for one that a
// policy reads.
const ReasonArguments = "TOOL_ARGUMENTS_INVALID"

// reads returns the names of arguments that a policy reads of calls of a tool, nil for none. A shadow, which must not change a call,
// reads none here.
func (p *Policy) reads(server, upstream string) *spelling.Names {
	if p.Shadow || p.when == nil || p.when.Arguments() == nil || !p.Covers(server, upstream) {
		return nil
	}
	return p.when.Arguments()
}

func (p *ResultPolicy) reads(server, upstream string) *spelling.Names {
	if p.Shadow {
		return nil
	}
	return p.rule.reads(server, upstream)
}

// ReadsArguments reports whether a policy, of calls or of results, reads arguments of calls of a tool, by its server and the name that
// the server knows: then [Misspelt] has something to look for.
func ReadsArguments(calls []*Policy, results []*ResultPolicy, server, upstream string) bool {
	for _, p := range calls {
		if p.reads(server, upstream) != nil {
			return true
		}
	}
	for _, p := range results {
		if p.reads(server, upstream) != nil {
			return true
		}
	}
	return false
}

// Misspelt returns what is wrong with the names in arguments of a call of a tool, nil for nothing: one that a server may take for one
// that a policy reads would pass the policy by. schema returns the tool's input schema, nil for none; it is called only where names
// differ in that way, or are not known before a condition is evaluated. The fault is Invalid, TOOL_ARGUMENTS_INVALID, with one field,
// and names neither a policy nor a value (G-35).
func Misspelt(calls []*Policy, results []*ResultPolicy, server, upstream string, arguments []byte, schema func() *inputschema.Schema) error {
	for _, p := range calls {
		if n := p.reads(server, upstream); n.Doubtful(arguments) {
			if problem, found := n.Check(arguments, schema()); found {
				return misspelt(problem)
			}
		}
	}
	for _, p := range results {
		if n := p.reads(server, upstream); n.Doubtful(arguments) {
			if problem, found := n.Check(arguments, schema()); found {
				return misspelt(problem)
			}
		}
	}
	return nil
}

func misspelt(p inputschema.Problem) error {
	f := fault.Newf(fault.Invalid, ReasonArguments, "The names of the arguments leave open what is meant, and nothing was run: %s: %s.", p.Path, p.Text)
	f.Fields = []fault.Field{{Path: p.Path, Problem: p.Text}}
	return f
}

// Schema returns the input schema of the accepted definition, compiled at first use; nil for one that is not checked.
func (t *Tool) Schema() *inputschema.Schema {
	if s := t.schema.Load(); s != nil {
		return *s
	}
	s := SchemaOf(t.Whole())
	t.schema.CompareAndSwap(nil, &s)
	return *t.schema.Load()
}

// SchemaOf returns the input schema of a definition, a raw JSON object; nil for one that is not checked.
func SchemaOf(definition []byte) *inputschema.Schema {
	var members map[string]json.RawMessage // a map, because member names are exact (M-10)
	if json.Unmarshal(definition, &members) != nil {
		return nil
	}
	return inputschema.Compile(members["inputSchema"])
}

// Fixes reports whether an argument that a caller sends is one that every call gets, or a server may take it for one: their names are
// alike, and the input schema does not have both.
func (t *Tool) Fixes(argument []byte) bool {
	for i := range t.Fixed {
		name := t.Fixed[i].Name
		if name == string(argument) || spelling.Alike(name, argument) && !t.Schema().Place().Has(name, string(argument)) {
			return true
		}
	}
	return false
}
