// SPDX-License-Identifier: Apache-2.0

package obs

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// silent is a provider whose spans record nothing and carry the caller's trace upstream. The library's own makes a context for each
// span, even for one that says nothing.
type silent struct{ noop.TracerProvider }

// Tracer implements trace.TracerProvider.
func (silent) Tracer(string, ...trace.TracerOption) trace.Tracer { return silentTracer{} }

type silentTracer struct{ noop.Tracer }

// Start implements trace.Tracer.
func (t silentTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if span := trace.SpanFromContext(ctx); !span.IsRecording() {
		return ctx, span
	}
	return t.Tracer.Start(ctx, name, o...)
}
