// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Source is where what a client is to get comes from.
type Source uint8

const (
	// FromCall is the call of a tool, with all that comes with its result.
	FromCall Source = iota
	// FromTask is a task, which says of itself neither which tool runs as one nor with which arguments.
	FromTask
	// FromResource is a resource, or an answer of a method that MCP does not know.
	FromResource
	// FromServer is what a server tells or asks outside of calls, which may be about any of them.
	FromServer
)

// DecideResult decides what happens to results. tools are those that a result from elsewhere than a call may stem from: all policies
// count that concern one of them, and what a condition cannot know counts as true.
//
// BLOCK is for FromTask and FromResource where it is for all of these tools, or for the server, and does not depend on what is not
// known: a call whose result is blocked hands out neither a task nor a link, and what other calls handed out is theirs.
func DecideResult(in *Input, from Source, tools []*view.Tool, failed func(*compile.ResultPolicy, error)) compile.ResultDecision {
	f := in.facts()
	scope := compile.ResultScope{BlockOpen: from == FromServer}
	scope.Covers = func(p *compile.ResultPolicy) bool {
		if from == FromCall {
			return p.Covers(in.Tool.Server, in.Tool.Upstream)
		}
		covers := func(t *view.Tool) bool { return p.Covers(t.Server, t.Upstream) }
		switch {
		case p.CoversServer(in.Server):
			return true
		case p.Mark != compile.MarkBlock || from == FromServer:
			return slices.ContainsFunc(tools, covers)
		case from == FromTask:
			return len(tools) > 0 && !slices.ContainsFunc(tools, func(t *view.Tool) bool { return !covers(t) })
		default:
			return false
		}
	}
	return compile.DecideResult(in.Gateway.ResultPolicies, f, scope, failed)
}
