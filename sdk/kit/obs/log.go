// SPDX-License-Identifier: Apache-2.0

package obs

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonConfig is the reason of the faults of [Start]: a setting it cannot
// use, named in Fields.
const ReasonConfig = "TELEMETRY_CONFIG_INVALID"

// newLogger makes the process's logger. Level and format are lower-case; the
// empty string means info and json.
func newLogger(w io.Writer, level, format, service string) (*slog.Logger, error) {
	var min slog.Level
	switch strings.ToLower(level) {
	case "", "info":
	case "debug":
		min = slog.LevelDebug
	case "warn":
		min = slog.LevelWarn
	case "error":
		min = slog.LevelError
	default:
		return nil, fault.Newf(fault.Invalid, ReasonConfig, "The log level %q is not one of debug, info, warn, error.", level).
			At("log_level", "is not one of debug, info, warn, error")
	}
	options := &slog.HandlerOptions{Level: min}
	var h slog.Handler
	switch strings.ToLower(format) {
	case "", "json":
		h = slog.NewJSONHandler(w, options)
	case "text":
		h = slog.NewTextHandler(w, options)
	default:
		return nil, fault.Newf(fault.Invalid, ReasonConfig, "The log format %q is not one of json, text.", format).
			At("log_format", "is not one of json, text")
	}
	return slog.New(traceHandler{h}).With(AttrService, service), nil
}

// traceHandler adds the trace of the context, so that a log line leads to its
// trace and back.
type traceHandler struct {
	slog.Handler
}

// Handle adds trace_id and span_id when ctx carries a trace.
func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String(AttrTraceID, sc.TraceID().String()), slog.String(AttrSpanID, sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping, which embedding alone would lose.
func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping, which embedding alone would lose.
func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}

// Fault returns the attributes that a log line about err carries: the error
// with its cause, and the kind and reason of its fault. A nil err gives none.
func Fault(err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	f := fault.From(err)
	return slog.Group("", // a group without a name is inlined
		slog.String(AttrError, err.Error()),
		slog.String(AttrFaultKind, f.Kind.String()),
		slog.String(AttrFaultReason, f.Reason))
}
