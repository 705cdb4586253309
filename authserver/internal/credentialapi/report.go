// SPDX-License-Identifier: Apache-2.0

package credentialapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const scope = "github.com/penstockhq/penstock/authserver/internal/credentialapi"

// Attributes of the operations counter.
const (
	attrOperation = "operation" // put, delete, resolve, create_connect_link, set_password, get_issuer
	attrOutcome   = "outcome"   // ok, or a fault kind
	outcomeOK     = "ok"
)

// reporter tells about calls: a span, a count and the audit line.
type reporter struct {
	log        *slog.Logger
	tracer     trace.Tracer
	operations metric.Int64Counter
	now        func() time.Time
}

func newReporter(c Config) (reporter, error) {
	operations, err := c.Meter.Meter(scope).Int64Counter(obs.MetricVaultOperations,
		metric.WithDescription("operations on stored credentials, by operation and outcome"))
	if err != nil {
		return reporter{}, fmt.Errorf("make the operations counter: %w", err)
	}
	return reporter{log: c.Log, tracer: c.Tracer.Tracer(scope), operations: operations, now: c.Now}, nil
}

// begin starts a call's span; the returned function ends it, counts the call and writes the audit line (D-85: each
// release is audited). Neither holds a value, and an error's text only names.
func (r reporter) begin(ctx context.Context, c *call) (context.Context, func(error)) {
	started := r.now()
	ctx, span := r.tracer.Start(ctx, "credential "+c.operation, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String(obs.PenstockConnection, c.connection)))
	return ctx, func(err error) {
		outcome := outcomeOK
		if f := fault.From(err); f != nil {
			outcome = f.Kind.String()
			span.SetStatus(codes.Error, f.Reason)
			span.SetAttributes(attribute.String(obs.PenstockFaultReason, f.Reason))
		}
		span.End()
		r.operations.Add(ctx, 1, metric.WithAttributes(attribute.String(attrOperation, c.operation), attribute.String(attrOutcome, outcome)))
		r.audit(ctx, c, r.now().Sub(started), err)
	}
}

func (r reporter) audit(ctx context.Context, c *call, took time.Duration, err error) {
	caller := callerOf(ctx).workload
	attrs := []slog.Attr{
		slog.String(obs.AttrMethod, c.operation),
		slog.String(obs.AttrRole, string(caller.Role)),
		slog.String(obs.AttrNode, caller.Name),
		slog.String(obs.AttrRegion, caller.Region),
		slog.String(obs.AttrConnection, c.connection),
		slog.Duration(obs.AttrDuration, took),
	}
	if c.server != "" {
		attrs = append(attrs, slog.String(obs.AttrServer, c.server))
	}
	if c.version != "" {
		attrs = append(attrs, slog.String(obs.AttrVersion, c.version))
	}
	if c.principal != "" {
		attrs = append(attrs, slog.String(obs.AttrPrincipal, c.principal))
	}
	if c.count != 0 {
		attrs = append(attrs, slog.Int(obs.AttrCount, c.count))
	}
	f := fault.From(err)
	if f == nil {
		if c.quiet {
			return
		}
		r.log.LogAttrs(ctx, slog.LevelInfo, "credential operation", attrs...)
		return
	}
	attrs = append(attrs, slog.String(obs.AttrFaultReason, f.Reason), slog.String(obs.AttrError, err.Error()))
	r.log.LogAttrs(ctx, level(f.Kind), "credential operation refused", attrs...)
}

// level follows style.md §6: Error is for what somebody must act on.
func level(k fault.Kind) slog.Level {
	switch k {
	case fault.Bug:
		return slog.LevelError
	case fault.Canceled:
		return slog.LevelInfo
	default:
		return slog.LevelWarn
	}
}

// recovered turns a panic into the answer of a bug. The value of the panic may quote what was being worked on, so only
// its type is told.
func (r reporter) recovered(ctx context.Context, spec connect.Spec, _ http.Header, p any) error {
	r.log.LogAttrs(ctx, slog.LevelError, "credential operation panicked",
		slog.String(obs.AttrMethod, spec.Procedure), slog.String(obs.AttrError, fmt.Sprintf("panic of type %T", p)))
	return toConnect(fmt.Errorf("panic of type %T", p))
}
