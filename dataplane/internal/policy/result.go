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

// Judged returns the prints of the policies that judge a call of a tool of a server and depend on what a task of it does not say. A
// call whose result one of them blocks hands out no task, so that they have nothing more to say of the task of one that does.
func Judged(g *view.Gateway, server string) string {
	var b []byte
	for _, p := range g.ResultPolicies {
		if p.Unsure(server) && slices.ContainsFunc(g.Tools, func(t *view.Tool) bool { return t.Server == server && p.Covers(server, t.Upstream) }) {
			b = append(b, p.Print()...)
		}
	}
	return string(b)
}

// judged reports whether a policy is one of those of prints.
func judged(p *compile.ResultPolicy, prints string) bool {
	for ; len(prints) >= compile.PrintSize; prints = prints[compile.PrintSize:] {
		if prints[:compile.PrintSize] == p.Print() {
			return true
		}
	}
	return false
}

// DecideResult decides what happens to results. tools are those that a result from elsewhere than a call may stem from: all policies
// count that concern one of them, and what a condition cannot know counts as true.
//
// BLOCK is for FromTask and FromResource where it is for all of these tools, or for the server, and does not depend on what is not
// known: a call whose result is blocked hands out neither a task nor a link, and what other calls handed out is theirs. A policy that
// did not judge the call of a task, because it was written or changed since, counts as all others do.
func DecideResult(in *Input, from Source, tools []*view.Tool, failed func(*compile.ResultPolicy, error)) compile.ResultDecision {
	f := in.facts()
	late := func(p *compile.ResultPolicy) bool {
		return from == FromTask && p.Unsure(in.Server) && !judged(p, in.Judged)
	}
	scope := compile.ResultScope{BlockOpen: func(p *compile.ResultPolicy) bool { return from == FromServer || late(p) }}
	scope.Covers = func(p *compile.ResultPolicy) bool {
		if from == FromCall {
			return p.Covers(in.Tool.Server, in.Tool.Upstream)
		}
		covers := func(t *view.Tool) bool { return p.Covers(t.Server, t.Upstream) }
		switch {
		case p.CoversServer(in.Server):
			return true
		case p.Mark != compile.MarkBlock || from == FromServer || late(p):
			return slices.ContainsFunc(tools, covers)
		case from == FromTask:
			return len(tools) > 0 && !slices.ContainsFunc(tools, func(t *view.Tool) bool { return !covers(t) })
		default:
			return false
		}
	}
	return compile.DecideResult(in.Gateway.ResultPolicies, f, scope, failed)
}
