// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// noteRefused has the audit told of a tools/call that is answered with an error before the dispatcher got it: for its scope, a limit,
// a malformed envelope or a session that is gone (G-60). What the dispatcher has had is recorded by it.
func (x *request) noteRefused(err error) {
	if x.h.refused == nil || x.audited || x.gateway == nil || x.principal.Kind == "" || x.broken != nil {
		return
	}
	if x.msg.Kind != wire.Request || x.methodOf() != method.CallTool {
		return
	}
	x.audited = true
	name, _ := wire.DecodeString(x.msg.P.Name.Of(x.body))
	x.h.refused(trace.ContextWithSpanContext(x.r.Context(), x.span), x.caller(), call.Call{
		Method: method.CallTool, Name: name, Params: x.msg.Params.Of(x.body), Message: &x.msg, Body: x.body,
	}, err)
}
