// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Upstream sends one tools/call to the server behind a connection. Its faults are Unavailable, Timeout, Exhausted or
// Precondition; an answer of the server, error or result, is no fault.
type Upstream interface {
	CallTool(ctx context.Context, r UpstreamCall, sink func(message []byte) error) (call.Reply, error)
}

// UpstreamCall is one call on its way to a server.
type UpstreamCall struct {
	Server     *view.Server
	Connection *view.Connection
	Credential Credential
	Principal  ident.Principal
	Version    wire.Version // of the client side
	Params     []byte       // raw params with the upstream's tool name

	ProgressToken []byte // raw token of the client, nil if none: notifications carry it
	Traceparent   string
	Tracestate    string
	Retryable     bool // the tool is read-only or idempotent (G-51)
}

// Credential is what a call authenticates upstream with. Values are secret; maps are shared and never written to.
type Credential struct {
	Key    string // identity of the credential, stable while it is the same; empty for none
	Header http.Header
	Env    map[string]obs.Secret
}

// Credentials resolves the credential of a connection for a principal. Its faults are Precondition
// (CREDENTIAL_MISSING) and Unavailable.
type Credentials interface {
	Resolve(ctx context.Context, c *view.Connection, p ident.Principal) (Credential, error)
}

// Sealer makes and opens the cursors of lists (M-70).
type Sealer interface {
	SealCursor(gatewayUID, lastName string) string
	OpenCursor(gatewayUID, cursor string) (lastName string, ok bool)
}

// Config is what a Dispatcher needs.
type Config struct {
	Upstream    Upstream
	Credentials Credentials
	Sealer      Sealer
	Log         *slog.Logger
	Tracer      trace.Tracer
	Meter       metric.Meter
}

// Dispatcher runs calls. It is safe for concurrent use.
type Dispatcher struct {
	Config
	overhead metric.Float64Histogram
	upstream metric.Float64Histogram
	outcomes map[string]metric.MeasurementOption
}

// Outcomes of a call, the values of the metric attribute "outcome".
const (
	outcomeOK        = "ok"
	outcomeToolError = "tool_error"
	outcomeFault     = "fault"
)

// New returns a Dispatcher. It fails only if the meter refuses an instrument.
func New(cfg Config) (*Dispatcher, error) {
	d := &Dispatcher{Config: cfg, outcomes: make(map[string]metric.MeasurementOption)}
	for _, o := range []string{outcomeOK, outcomeToolError, outcomeFault} {
		d.outcomes[o] = metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", o)))
	}
	var err error
	d.overhead, err = cfg.Meter.Float64Histogram(obs.MetricDispatchOverhead, metric.WithUnit("s"),
		metric.WithDescription("Time of a tools/call spent in the node, without the upstream's."))
	if err != nil {
		return nil, err
	}
	d.upstream, err = cfg.Meter.Float64Histogram(obs.MetricUpstreamCall, metric.WithUnit("s"),
		metric.WithDescription("Time of a tools/call spent waiting for the upstream."))
	if err != nil {
		return nil, err
	}
	return d, nil
}

// CallTool runs one tools/call. An unknown, hidden or unassigned tool is the same NotFound fault (RS-21); everything
// that goes wrong after the tool was found is a result with isError, because the model should read it (style.md §5).
// sink gets the upstream's notifications in order, on this goroutine, before CallTool returns.
func (d *Dispatcher) CallTool(ctx context.Context, c call.Caller, k call.Call, sink func([]byte) error) (call.Reply, error) {
	start := time.Now()
	tool := c.Snapshot.Tool(c.Gateway, k.Name)
	if tool == nil {
		return call.Reply{}, fault.Newf(fault.NotFound, ReasonUnknownTool, "Unknown tool: %s", k.Name)
	}
	ctx, span := d.Tracer.Start(ctx, "dispatch")
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String(obs.PenstockGateway, c.Gateway.Name), attribute.String(obs.PenstockServer, tool.Server),
			attribute.String(obs.PenstockConnection, tool.Connection), attribute.String(obs.GenAIToolName, tool.Exposed),
			attribute.Int64(obs.PenstockRevision, int64(c.Snapshot.Revision)))
	}

	var waited time.Duration
	reply, err := d.run(ctx, c, k, tool, sink, &waited)
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeFault
		f := fault.From(err)
		if span.IsRecording() {
			span.SetAttributes(attribute.String(obs.ErrorType, f.Reason))
		}
		reply, err = d.answer(c, tool, f) // edge logs what is left
	} else if reply.Error != nil || reply.IsError {
		outcome = outcomeToolError
	}
	d.upstream.Record(ctx, waited.Seconds(), d.outcomes[outcome])
	d.overhead.Record(ctx, (time.Since(start) - waited).Seconds(), d.outcomes[outcome])
	return reply, err
}

func (d *Dispatcher) run(
	ctx context.Context, c call.Caller, k call.Call, tool *view.Tool, sink func([]byte) error, waited *time.Duration,
) (call.Reply, error) {
	if tool.Held {
		return call.Reply{}, held(tool)
	}
	server, connection, err := locate(c.Snapshot, tool)
	if err != nil {
		return call.Reply{}, err
	}
	var credential Credential
	if server.NeedsSecret {
		if connection.CredentialVersion == "" {
			return call.Reply{}, noCredential(connection)
		}
		if credential, err = d.Credentials.Resolve(ctx, connection, c.Principal); err != nil {
			return call.Reply{}, err
		}
	}
	var edits wire.Edits
	edits.Replace(k.Message.P.Name.Span, wire.Quote(tool.Upstream))
	params := edits.AppendSpan(make([]byte, 0, len(k.Params)+len(tool.Upstream)), k.Body, k.Message.Params.Span)

	reply, err := d.send(ctx, UpstreamCall{
		Server: server, Connection: connection, Credential: credential, Principal: c.Principal, Version: c.Version,
		Params: params, ProgressToken: k.ProgressToken, Retryable: tool.Retryable,
	}, sink, waited)
	if err != nil {
		return call.Reply{}, err
	}
	return convertReply(reply, c.Version)
}

// send asks the upstream under a client span of its own, whose context the upstream gets (M-56), and measures the wait.
func (d *Dispatcher) send(
	ctx context.Context, u UpstreamCall, sink func([]byte) error, waited *time.Duration,
) (call.Reply, error) {
	ctx, span := d.Tracer.Start(ctx, "upstream tools/call", trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.String(obs.MCPMethodName, "tools/call"), attribute.String(obs.PenstockServer, u.Server.Name))
	}
	var carrier traceHeaders
	propagation.TraceContext{}.Inject(ctx, &carrier)
	u.Traceparent, u.Tracestate = carrier.parent, carrier.state
	sent := time.Now()
	reply, err := d.Upstream.CallTool(ctx, u, sink)
	*waited = time.Since(sent)
	if err != nil && span.IsRecording() {
		span.SetAttributes(attribute.String(obs.ErrorType, fault.From(err).Reason))
	}
	return reply, err
}

// traceHeaders takes the two headers of W3C trace context without a map.
type traceHeaders struct{ parent, state string }

// Get implements propagation.TextMapCarrier.
func (*traceHeaders) Get(string) string { return "" }

// Keys implements propagation.TextMapCarrier.
func (*traceHeaders) Keys() []string { return nil }

// Set implements propagation.TextMapCarrier.
func (t *traceHeaders) Set(key, value string) {
	switch key {
	case "traceparent":
		t.parent = value
	case "tracestate":
		t.state = value
	}
}

// locate finds the server and the pinned connection of a tool. A deleted connection leaves the assignment in place; the
// call says which one is missing (G-11).
func locate(s *view.Snapshot, tool *view.Tool) (*view.Server, *view.Connection, error) {
	server := s.Server(tool.Server)
	if server == nil || s.Denied("server", tool.Server) {
		return nil, nil, fault.Newf(fault.Precondition, ReasonServerMissing,
			"The server %q behind this tool was removed. Ask an administrator of the gateway.", tool.Server)
	}
	connection := s.Connection(tool.Connection)
	if connection == nil || s.Denied("connection", tool.Connection) {
		return nil, nil, fault.Newf(fault.Precondition, ReasonConnectionMissing,
			"The connection %q that this tool runs with was deleted. Ask an administrator to create it again or to pin the tool to another one.",
			tool.Connection)
	}
	return server, connection, nil
}
