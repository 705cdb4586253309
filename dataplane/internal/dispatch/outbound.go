// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// renamed returns the params of a request with the one value that differs on the two sides.
func renamed(k *call.Call, t *target) []byte {
	p := k.Message.Params
	b, most := t.room, p.End-p.Start+len(t.value)
	if t.room = nil; most > cap(b) {
		b = make([]byte, 0, most)
	}
	b = append(b, k.Body[p.Start:t.at.Start]...)
	return append(wire.AppendString(b, t.value), k.Body[t.at.End:p.End]...)
}

// mirrored returns the input schema of a tool with arguments that are repeated in headers, nil for all others (M-63).
func (d *Dispatcher) mirrored(t *view.Tool) []byte {
	headers, err := d.marked.Of(t, t.Whole)
	if err != nil || len(headers) == 0 {
		return nil
	}
	return wire.Get(t.Whole(), "inputSchema")
}

// outbound starts a request to the server of a target, with the credential of its connection.
func (d *Dispatcher) outbound(ctx context.Context, c *call.Caller, t *target) (*call.Outbound, error) {
	o, err := start(c, t)
	if err != nil || !o.Server.NeedsSecret {
		return o, err
	}
	began := time.Now()
	o.Credential, err = d.Credentials.Resolve(ctx, o)
	t.resolving = time.Since(began)
	return o, err
}

// start is outbound without the credential.
func start(c *call.Caller, t *target) (*call.Outbound, error) {
	server, connection, err := locate(c, t)
	if err != nil {
		return nil, err
	}
	o := t.out
	if t.out = nil; o == nil { // each request has its own
		o = new(call.Outbound)
	}
	*o = call.Outbound{
		Gateway: c.Gateway, Server: server, Connection: connection, Principal: c.Principal, Client: c.Client, Version: c.Version,
	}
	if !server.NeedsSecret {
		return o, nil
	}
	if server.Version(connection) == "" {
		return nil, noCredential(connection, t.what)
	}
	if exchanges(server, c) {
		o.Subject = c.Presented
	}
	return o, nil
}

// state returns why a tool is not called as it is, nil if it is.
func state(t *view.Tool) error {
	if t != nil && t.Held {
		return held(t)
	}
	return nil
}

// exchanges reports whether what the caller presented at the gateway is exchanged for the server's credential.
func exchanges(server *view.Server, c *call.Caller) bool {
	return server.SubjectProvider != "" && server.SubjectProvider == c.Presented.Provider
}

// lasting is outbound for what outlives the request that set it off: with its credential, and without what the caller presented.
func (d *Dispatcher) lasting(ctx context.Context, c *call.Caller, t *target) (*call.Outbound, error) {
	o, err := d.outbound(ctx, c, t)
	if o != nil {
		o.Subject = call.Presented{}
	}
	return o, err
}

// send asks the upstream under a client span of its own, whose context the upstream gets (M-56), and measures the wait.
func (d *Dispatcher) send(
	ctx context.Context, u *call.Outbound, sink func([]byte) error, waited *time.Duration,
) (call.Reply, error) {
	name := "upstream tools/call"
	if u.Method != methodCallTool {
		name = "upstream " + u.Method
	}
	ctx, span := d.Tracer.Start(ctx, name, d.asks...)
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.String(obs.MCPMethodName, u.Method), attribute.String(obs.PenstockServer, u.Server.Name))
	}
	if span.SpanContext().IsValid() {
		var carrier traceHeaders
		propagation.TraceContext{}.Inject(ctx, &carrier)
		u.Traceparent, u.Tracestate = carrier.parent, carrier.state
	}
	sent := time.Now()
	reply, err := d.Upstream.Call(ctx, u, sink)
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
