// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/ask"
	"github.com/penstockhq/penstock/dataplane/internal/edge/capability"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/profile"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/valid"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
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
		if !x.forwardHome() {
			x.respond()
		}
		return
	}
	if err := x.notified(); err != nil {
		x.failNotice(err)
		return
	}
	x.accept202() // M-37
}

// openSession finds the session of Mcp-Session-Id (M-34).
func (x *request) openSession() error {
	ids := x.r.Header[headerSession]
	if len(ids) != 1 {
		return fault.New(fault.NotFound, session.ReasonNotFound, "Invalid session ID")
	}
	s, err := x.h.sessions.Open(x.r.Context(), x.gateway.UID, x.principal, ids[0])
	if err == nil {
		x.enter(s)
	}
	return err
}

// enter takes what the session has agreed on, its version too: a later header does not change that (M-35).
func (x *request) enter(s *session.Session) {
	state := s.State()
	x.session, x.version = s, state.Version
	x.client = call.Client{Session: s.Key(), Began: s.Began(), Capabilities: state.Capabilities, LogLevel: state.LogLevel}
}

// reach lets upstreams ask the client through the answer, as long as the asker is open, and keeps what is sent for a
// client that comes back for it.
func (x *request) reach(a *answer.Writer) *ask.Asker {
	asker := ask.New(x.session, a)
	x.client.Asker = asker
	a.Keep(x)
	return asker
}

// Tape implements [answer.Keeper] for the answers in sessions.
func (x *request) Tape() answer.Tape {
	asked := x.promised
	if asked == nil {
		asked = []replay.Asked{{ID: bytes.Clone(x.msg.ID.Of(x.body)), Method: x.methodOf()}}
	}
	return x.session.Events().Answer(asked, x.primes())
}

// primes reports whether the session's streams begin with an event without data: older clients read that as JSON (M-39).
func (x *request) primes() bool { return x.version.AtLeast(wire.V20251125) }

// notified takes a notification or a response. The error is of another node that it is for, which cannot be reached now.
func (x *request) notified() error {
	switch x.msg.Kind {
	case wire.Response, wire.ErrorResponse:
		if node := session.Asker(x.msg.ID.Of(x.body)); x.isElsewhere(node) {
			return x.forwardNotice(node)
		}
		ask.Resolve(x.session, &x.msg, x.body)
		return nil
	default:
	}
	switch x.method = x.methodOf(); x.method {
	case method.Cancelled:
		if id := x.msg.P.RequestID.Of(x.body); id != nil && !x.session.Cancel(id) {
			x.session.CancelElsewhere(x.r.Context(), id)
		}
	case method.Progress:
		if node := session.Asker(x.msg.P.ProgressToken.Of(x.body)); x.isElsewhere(node) {
			return x.forwardNotice(node)
		}
		ask.Progress(x.session, &x.msg, x.body)
	case method.RootsChanged:
		x.h.dispatch.Notify(x.caller(), x.method, x.msg.Params.Of(x.body))
	}
	return nil
}

func (x *request) executeLegacy(ctx context.Context, sink func([]byte) error) (outcome, error) {
	if err := x.scoped(); err != nil {
		return outcome{}, err
	}
	switch x.method {
	case method.Initialize:
		return x.startSession(ctx)
	case method.Ping:
		return outcome{result: []byte(`{}`)}, nil
	}
	if x.version == "" { // HTTP+SSE
		return outcome{}, rpcerror.InvalidRequest("initialize comes first")
	}
	if x.method == method.SetLevel {
		return x.setLevel(ctx)
	}
	o, err := x.serve(ctx, sink)
	if err == nil && o.object == nil {
		x.subscribed(ctx)
	}
	return o, err
}

// subscribed notes a subscription that was made, or ended, for the node that goes on with the session (M-88).
func (x *request) subscribed(ctx context.Context) {
	if x.method != method.Subscribe && x.method != method.Unsubscribe {
		return
	}
	if uri, ok := wire.DecodeString(x.msg.P.URI.Of(x.body)); ok {
		x.session.Subscribed(ctx, uri, x.method == method.Subscribe)
	}
}

// setLevel answers logging/setLevel (M-52). What is sent upstream follows from the session's level at each call.
func (x *request) setLevel(ctx context.Context) (outcome, error) {
	if method.Find(x.method, x.version, x.gateway).Action != method.Own {
		return outcome{}, rpcerror.MethodNotFound()
	}
	raw := x.msg.P.Level.Of(x.body)
	if !valid.IsLogLevel(raw) {
		return outcome{}, rpcerror.InvalidParams("params.level is no log level")
	}
	level, _ := wire.DecodeString(raw)
	x.session.SetLogLevel(ctx, level)
	return outcome{result: []byte(`{}`)}, nil
}

// startSession answers initialize from the view (M-33).
func (x *request) startSession(ctx context.Context) (o outcome, err error) {
	if x.session != nil && !x.session.IsSSE() { // inside a batch
		return o, rpcerror.InvalidRequest("initialize must stand alone")
	}
	p := &x.msg.P
	requested, ok := wire.DecodeString(p.ProtocolVersion.Of(x.body))
	if !ok {
		return o, rpcerror.InvalidParams("params.protocolVersion must be a string")
	}
	raw := p.Capabilities.Of(x.body)
	if raw != nil && !wire.IsObject(raw) {
		return o, rpcerror.InvalidParams("params.capabilities must be an object")
	}
	if err := capability.Check(raw); err != nil {
		return o, err //nolint:wrapcheck // a fault of the envelope
	}
	version := wire.Negotiate(requested)
	if s := x.session; s == nil {
		o.sessionID, s, err = x.h.sessions.Create(ctx, x.gateway.UID, x.principal, version, raw)
		if err != nil {
			return o, err
		}
		x.logStart(ctx, s)
	} else if !s.Start(version, raw) {
		return o, rpcerror.InvalidRequest("the session is initialized already")
	} else {
		x.logStart(ctx, s)
	}
	x.version = version
	o.result = profile.Initialize(x.gateway, x.h.build, x.version)
	return o, nil
}

// logStart says who the client says it is: of no effect on anything.
func (x *request) logStart(ctx context.Context, s *session.Session) {
	if !x.h.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	var client struct{ name, version string }
	raw := x.msg.P.ClientInfo.Of(x.body)
	if members, err := wire.Fields(nil, raw); err == nil {
		client.name, _ = wire.DecodeString(wire.Lookup(members, "name").Of(raw))
		client.version, _ = wire.DecodeString(wire.Lookup(members, "version").Of(raw))
	}
	const longest = 100 // it is the client's text
	x.h.log.LogAttrs(ctx, slog.LevelDebug, "session started", slog.String(obs.AttrRequestID, x.requestID()),
		slog.String("session", s.Key()), slog.String("client", client.name[:min(longest, len(client.name))]),
		slog.String("client_version", client.version[:min(longest, len(client.version))]))
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
