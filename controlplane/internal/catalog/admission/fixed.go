// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
)

// fixedArguments checks what every call of an assignment gets against the input schema of the tool, as it was accepted: the tool must
// have such an argument, or what the administrator means to hold fast would be ignored by the server; and the value must fit, or every
// call would fail. A schema that is not checked for run_tool is not checked here.
func fixedArguments(ctx context.Context, d *desk.Desk, stored *resource.Tool, a resource.ToolAssignment, p *resource.Problems) error {
	var given map[string]json.RawMessage
	if len(a.FixedArguments) == 0 || json.Unmarshal(a.FixedArguments, &given) != nil {
		return nil //nolint:nilerr // none, or refused already
	}
	tool := *stored // which is shared
	if err := d.Definitions(ctx, &tool); err != nil {
		return err
	}
	// Maps, because member names are exact: encoding/json would take "INPUTSCHEMA" for a struct's.
	var definition, schema, properties map[string]json.RawMessage
	if json.Unmarshal(tool.Definition, &definition) == nil && json.Unmarshal(definition["inputSchema"], &schema) == nil {
		_ = json.Unmarshal(schema["properties"], &properties) // what cannot be read has none
	}
	compiled := inputschema.Compile(definition["inputSchema"])
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := At(a, "fixed_arguments."+name)
		if _, ok := properties[name]; !ok {
			p.Add(ReasonUnknownArgument, at, "the tool %q has no argument %q in its input schema; see: penstock describe tool %s", a.Tool, name, a.Tool)
			continue
		}
		for _, problem := range compiled.Property(name).Check(given[name]) {
			p.Add(ReasonArgumentMisfit, at, "%s: %s; see: penstock describe tool %s", problem.Path, problem.Text, a.Tool)
		}
	}
	return nil
}
