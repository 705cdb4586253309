// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// scoped returns why the token does not cover the request (RS-5, RS-19), nil if it does. A tool that the caller does not
// see is as any other unknown tool to it, whatever it would need (RS-21).
func (x *request) scoped() error {
	if x.method != method.CallTool {
		return lacking(x.principal.Scopes, nil)
	}
	if len(x.gateway.Scopes) <= 1 && compile.HasScope(x.principal.Scopes, compile.ScopeMCP) {
		return nil // no tool needs more, whichever it is
	}
	t, name := x.called()
	return covers(x.principal.Scopes, x.gateway, t, name)
}

// covers returns why scopes do not cover calls of a tool by a name, nil if they do, and if there is no such tool: dispatch says so.
// search_tools tells of tools, and needs what their list does.
func covers(granted []string, g *view.Gateway, t *view.Tool, name string) error {
	switch {
	case t != nil:
		return lacking(granted, t.RequiredScopes)
	case g.LoadToolsWhenNeeded && compile.Reserved(name):
		return lacking(granted, nil)
	default:
		return nil
	}
}

// called returns the tool of a tools/call and its name, of a run_tool those of the tool that it runs: scopes, traces and metrics
// are of that one (G-24). The tool is nil where the caller sees none.
func (x *request) called() (*view.Tool, string) {
	name, _ := wire.DecodeString(x.msg.P.Name.Of(x.body))
	return calledAs(x.snapshot, x.gateway, name, x.msg.P.Arguments.Of(x.body))
}

// calledAs is called for the name and the raw arguments of a tools/call.
func calledAs(s *view.Snapshot, g *view.Gateway, name string, arguments []byte) (*view.Tool, string) {
	if !g.LoadToolsWhenNeeded || name != compile.RunTool {
		return s.Tool(g, name), name
	}
	wanted, _ := wire.DecodeString(wire.Get(arguments, "tool_name"))
	if t := s.ToolToRun(g, wanted); t != nil {
		return t, t.Exposed
	}
	return nil, name
}

// scopedAll is scoped for the requests of a batch, which has one HTTP status: the scopes are those of all of them.
func scopedAll(members []*request) error {
	var required []string
	var lacks bool
	for _, m := range members {
		if m.broken != nil || m.msg.Kind != wire.Request {
			continue
		}
		m.method = m.methodOf()
		if err := m.scoped(); err == nil {
			continue
		}
		lacks = true
		if m.method == method.CallTool {
			if t, _ := m.called(); t != nil {
				required = append(required, t.RequiredScopes...)
			}
		}
	}
	if !lacks {
		return nil
	}
	return rpcerror.InsufficientScope(strings.Join(compile.AddScopes(nil, required), " "))
}

// lacking returns the fault of a token without mcp or one of the scopes that are required besides. It names all that the
// request needs, not only what is missing: clients ask for what they are told.
func lacking(granted, required []string) error {
	ok := compile.HasScope(granted, compile.ScopeMCP)
	for _, scope := range required {
		ok = ok && compile.HasScope(granted, scope)
	}
	if ok {
		return nil
	}
	return rpcerror.InsufficientScope(strings.Join(compile.AddScopes(nil, required), " "))
}
