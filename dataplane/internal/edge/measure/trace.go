// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Trace is a client's W3C trace context, as text: Parent and State are traceparent and tracestate. It is the carrier that
// the propagator reads.
type Trace struct {
	Parent, State string
}

// Get returns a header of the trace context.
func (t *Trace) Get(key string) string {
	switch key {
	case "traceparent":
		return t.Parent
	case "tracestate":
		return t.State
	}
	return ""
}

// Set is not used: the edge reads only.
func (t *Trace) Set(string, string) {}

// Keys lists what Get knows.
func (t *Trace) Keys() []string { return []string{"traceparent", "tracestate"} }

func (t *Trace) span(ctx context.Context) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, t))
}

// Continue makes the client's span the parent of what starts under the returned context: the one in the header, or that
// in _meta if it belongs to another trace, which is the caller's own view; the header's is then a link (M-56). It returns
// the trace that was chosen, empty if neither is well formed.
func Continue(ctx context.Context, header, meta Trace) (context.Context, Trace, []trace.Link) {
	outer, inner := header.span(ctx), meta.span(ctx)
	switch {
	case !inner.IsValid() && !outer.IsValid():
		return ctx, Trace{}, nil
	case !inner.IsValid() || inner.TraceID() == outer.TraceID():
		return trace.ContextWithRemoteSpanContext(ctx, outer), header, nil
	case !outer.IsValid():
		return trace.ContextWithRemoteSpanContext(ctx, inner), meta, nil
	}
	return trace.ContextWithRemoteSpanContext(ctx, inner), meta, []trace.Link{{SpanContext: outer}}
}
