// SPDX-License-Identifier: Apache-2.0

package obs_test

import (
	"io"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// TestSilent: with nobody to send to, spans cost nothing, record nothing and have the caller's trace; not even a recording span that
// stands in the context gets what is said of them.
func TestSilent(t *testing.T) {
	tel, stop, err := obs.Start(t.Context(), obs.Config{Service: "s", LogWriter: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	tracer := tel.Tracer.Tracer("edge")
	if n := testing.AllocsPerRun(100, func() {
		ctx, span := tracer.Start(t.Context(), "call")
		_, inner := tracer.Start(ctx, "upstream")
		inner.End()
		span.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, span := tracer.Start(t.Context(), "call"); span.IsRecording() || span.SpanContext().IsValid() {
		t.Error("a span of no trace has one, or records")
	}
	callers := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
	remote, span := tracer.Start(trace.ContextWithSpanContext(t.Context(), callers), "call")
	if span.IsRecording() || !span.SpanContext().Equal(callers) || !trace.SpanContextFromContext(remote).Equal(callers) {
		t.Errorf("the caller's trace became %v", span.SpanContext())
	}
	recording, outer := sdktrace.NewTracerProvider().Tracer("other").Start(t.Context(), "other")
	defer outer.End()
	under, span := tracer.Start(recording, "call")
	if span.IsRecording() || trace.SpanFromContext(under).IsRecording() || span.SpanContext().TraceID() != outer.SpanContext().TraceID() {
		t.Error("a silent span records on another")
	}
}
