// SPDX-License-Identifier: Apache-2.0

package search

import "github.com/penstockhq/penstock/sdk/kit/compile"

// Names returns the names of the two tools, sorted.
func (*Search) Names() []string { return []string{compile.RunTool, compile.SearchTools} }

// Definition returns what tools/list says of one of the two tools (G-20, G-23): its raw definition, in the form of the newest
// version. It is nil for other names.
func (*Search) Definition(name string) []byte {
	switch name {
	case compile.SearchTools:
		return []byte(searchDefinition)
	case compile.RunTool:
		return []byte(runDefinition)
	}
	return nil
}

const searchDefinition = `{"name":"search_tools","title":"Search tools",` +
	`"description":"Finds tools of this gateway. Say in plain words what you want to do, for example \"open an issue about a bug\". ` +
	`The result has the best matches with their parameters as a signature: name!:type is required, name?:type is optional. ` +
	`Run one with run_tool. Tools with low_confidence true may not be what you look for; tools with available false cannot be run as things are, and unavailable_reason says why.",` +
	`"inputSchema":{"type":"object","properties":{` +
	`"query":{"type":"string","minLength":1,"maxLength":200,"description":"What the tool should do, in plain words."},` +
	`"limit":{"type":"integer","minimum":1,"maximum":20,"default":8,"description":"How many tools to return at most."},` +
	`"server":{"type":"string","minLength":1,"maxLength":320,"description":"Only tools of the server with this name."},` +
	`"detail":{"type":"string","enum":["signature","schema"],"default":"signature","description":"signature: parameters on one line. schema: the whole input schema."}` +
	`},"required":["query"],"additionalProperties":false},` +
	`"outputSchema":{"type":"object","properties":{` +
	`"total":{"type":"integer","description":"How many tools were searched."},` +
	`"match_count":{"type":"integer","description":"How many of them match."},` +
	`"truncated":{"type":"boolean","description":"More tools match than are returned."},` +
	`"hint":{"type":"string","description":"What to do next, or empty."},` +
	`"tools":{"type":"array","items":{"type":"object","properties":{` +
	`"name":{"type":"string","description":"The tool_name for run_tool."},` +
	`"description":{"type":"string"},` +
	`"server":{"type":"string"},` +
	`"signature":{"type":"string"},` +
	`"inputSchema":{"type":"object"},` +
	`"available":{"type":"boolean"},` +
	`"unavailable_reason":{"type":"string"},` +
	`"low_confidence":{"type":"boolean"}` +
	`},"required":["name","description","server","available","low_confidence"]}}` +
	`},"required":["total","match_count","truncated","hint","tools"]},` +
	`"annotations":{"title":"Search tools","readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}`

// runDefinition has no outputSchema: the result is the target's. Clients of 2025-11-25 may run it as a task, since the target may
// want that.
const runDefinition = `{"name":"run_tool","title":"Run tool",` +
	`"description":"Runs a tool that search_tools has found, and returns its result. Give the arguments by the tool's signature or input schema.",` +
	`"inputSchema":{"type":"object","properties":{` +
	`"tool_name":{"type":"string","minLength":1,"maxLength":320,"description":"The tool's name, as search_tools returned it."},` +
	`"arguments":{"type":"object","description":"The arguments of the tool."}` +
	`},"required":["tool_name"]},` +
	`"annotations":{"title":"Run tool"},"execution":{"taskSupport":"optional"}}`
