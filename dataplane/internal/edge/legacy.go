// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/edge/profile"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// initialize answers the request that starts a session, whatever session or version its headers name (M-1 row 2).
func (x *request) initialize() { x.respond() }

// legacy answers one message in a session.
func (x *request) legacy() {
	if err := x.openSession(); err != nil {
		x.fail(err)
		return
	}
	if x.msg.Kind == wire.Request {
		x.respond()
		return
	}
	x.notified()
	x.accept202() // M-37
}

// openSession finds the session of Mcp-Session-Id (M-34) and takes its version: a later header does not change it (M-35).
func (x *request) openSession() error {
	ids := x.r.Header[headerSession]
	if len(ids) != 1 {
		return fault.New(fault.NotFound, session.ReasonNotFound, "Invalid session ID")
	}
	s, err := x.h.sessions.Open(x.r.Context(), x.gateway.UID, x.principal, ids[0])
	if err != nil {
		return err
	}
	x.session, x.version = s, s.Version()
	return nil
}

// notified takes a notification. Responses come here too: this node has asked nothing yet, so all are unknown (M-37).
func (x *request) notified() {
	if x.method = x.methodOf(); x.method != methodCancelled {
		return
	}
	if id := x.msg.P.RequestID.Of(x.body); id != nil {
		x.session.Cancel(id)
	}
}

func (x *request) executeLegacy(ctx context.Context, sink func([]byte) error) (outcome, error) {
	switch x.method {
	case methodInitialize:
		if x.session != nil { // inside a batch
			return outcome{}, rpcerror.InvalidRequest("initialize must stand alone")
		}
		return x.startSession(ctx)
	case methodPing:
		return outcome{result: []byte(`{}`)}, nil
	case methodListTools:
		return x.listTools(ctx)
	case methodCallTool:
		return x.callTool(ctx, sink)
	}
	return outcome{}, rpcerror.MethodNotFound()
}

// startSession answers initialize from the view (M-33).
func (x *request) startSession(ctx context.Context) (outcome, error) {
	p := &x.msg.P
	requested, ok := wire.DecodeString(p.ProtocolVersion.Of(x.body))
	if !ok {
		return outcome{}, rpcerror.InvalidParams("params.protocolVersion must be a string")
	}
	if raw := p.Capabilities.Of(x.body); raw != nil && !wire.IsObject(raw) {
		return outcome{}, rpcerror.InvalidParams("params.capabilities must be an object")
	}
	x.version = wire.Negotiate(requested)
	id, _, err := x.h.sessions.Create(ctx, x.gateway.UID, x.principal, x.version)
	if err != nil {
		return outcome{}, err
	}
	return outcome{result: profile.Initialize(x.gateway, x.h.build, x.version), sessionID: id}, nil
}

// endSession answers DELETE (M-36).
func (x *request) endSession() {
	if err := x.openSession(); err != nil {
		x.fail(err)
		return
	}
	x.h.sessions.End(x.r.Context(), x.session)
	x.empty(http.StatusNoContent)
}
