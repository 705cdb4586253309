// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
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
	name, _ := wire.DecodeString(x.msg.P.Name.Of(x.body))
	t := x.snapshot.Tool(x.gateway, name)
	if t == nil {
		return nil // dispatch says so
	}
	return lacking(x.principal.Scopes, t.RequiredScopes)
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
		if name, ok := wire.DecodeString(m.msg.P.Name.Of(m.body)); ok && m.method == method.CallTool {
			required = append(required, m.snapshot.Tool(m.gateway, name).RequiredScopes...)
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
