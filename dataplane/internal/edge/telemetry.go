// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/edge/measure"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// operation is one JSON-RPC request under its span.
type operation struct {
	span    trace.Span
	started time.Time
}

// start begins the span of a request as a child of the client's (M-56).
func (x *request) start(ctx context.Context) (context.Context, operation) {
	var links []trace.Link
	if header := x.r.Header["Traceparent"]; header != nil || x.msg.Meta.Traceparent.Present() {
		var meta measure.Trace
		meta.Parent, _ = wire.DecodeString(x.msg.Meta.Traceparent.Of(x.body))
		meta.State, _ = wire.DecodeString(x.msg.Meta.Tracestate.Of(x.body))
		outer := measure.Trace{Parent: x.r.Header.Get("Traceparent"), State: x.r.Header.Get("Tracestate")}
		ctx, x.trace, links = measure.Continue(ctx, outer, meta)
	}
	ctx, span := x.h.measure.Start(ctx, measure.SpanName(x.method), links...)
	x.span = span.SpanContext()
	if span.IsRecording() {
		x.h.measure.Past(ctx, "authn", x.asked, x.known) // before the body said whose child the span is
	}
	return ctx, operation{span, time.Now()}
}

func (op *operation) end(ctx context.Context, x *request, o *outcome, err error) {
	kind := errorType(x, o)
	x.h.measure.Operation(ctx, measure.Labels{
		Method: measure.Method(x.method), Version: string(x.version), ErrorType: kind,
	}, time.Since(op.started))
	if op.span.IsRecording() {
		op.describe(x, o, kind, err)
	}
	op.span.End()
}

// describe sets what is worth knowing of one call.
func (op *operation) describe(x *request, o *outcome, kind string, err error) {
	f := measure.Facts{
		Method: x.method, Version: string(x.version), ID: x.idText(), RequestID: x.requestID(), Gateway: x.gateway.Name,
		Principal: x.principal.Hash(), Auth: x.principal.Method, Tool: x.tool, ErrorType: kind,
	}
	if x.session != nil {
		f.Session = x.session.UID().String()
	}
	if o.failure != nil {
		f.Code = o.failure.Code
	}
	if err != nil {
		f.Reason = fault.From(err).Reason
	}
	f.Describe(op.span)
}

// errorType is the error.type of an outcome, empty for success. Codes that upstreams made up are one type.
func errorType(x *request, o *outcome) string {
	switch {
	case o.failure != nil && o.failure.Silent:
		return "canceled"
	case o.failure != nil:
		return measure.CodeText(int64(o.failure.Code))
	case o.object != nil:
		if wire.ScanError(o.object, &x.relayed) == nil {
			code, _ := wire.Int(x.relayed.E.Code.Of(o.object))
			return measure.CodeText(code)
		}
		return obs.ErrorTypeOther
	case o.isError:
		return obs.ErrorTypeTool
	}
	return ""
}

// idText is the JSON-RPC id as an attribute: a string without its quotes.
func (x *request) idText() string {
	id := x.msg.ID.Of(x.body)
	if text, ok := wire.DecodeString(id); ok {
		return text
	}
	return string(id)
}
