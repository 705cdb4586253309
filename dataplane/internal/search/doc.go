// SPDX-License-Identifier: Apache-2.0

// Package search is load_tools_when_needed: the two tools that such a gateway lists in place of its own, search_tools and
// run_tool (gateway.md §4).
//
// dispatch asks it what to list, has it answer search_tools, and has it open run_tool: say which tool is meant and whether the
// arguments fit it. It must never run anything: a call that comes through run_tool is dispatch's like any other (G-24). It shows a
// caller nothing but the tools of the gateway that this caller sees: no name, count or hint of others (G-21).
//
// search.go answers search_tools, run.go opens run_tool; arguments.go reads what clients send for both, definition.go is what they
// read of them; index.go finds tools with kit/rank, and package embed keeps the vectors that may re-rank them; signature.go reads input
// schemas and kit/compile/inputschema checks arguments against them.
package search
