// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/confirm"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/exposed"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/invite"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Upstream sends requests to the servers behind connections (bridge room). Its faults are Unavailable, Timeout,
// Exhausted or Precondition; an answer of the server, error or result, is no fault.
type Upstream interface {
	// Call sends one request and returns its answer. Notifications of the call go to sink, in order, before it returns.
	Call(ctx context.Context, o *call.Outbound, sink func(message []byte) error) (call.Reply, error)

	// Attach has what the servers of a legacy session send outside of calls delivered until detach is called: questions go
	// to c.Asker, notifications, whole, to deliver.
	Attach(session string, c call.Client, v wire.Version, deliver func(connection string, message []byte)) (detach func())

	// Watch delivers what a subscription asks for until ctx is canceled, which is no error. The fault says that the server
	// cannot do it.
	Watch(ctx context.Context, o *call.Outbound, want call.Subscription, deliver func(message []byte)) error

	// Notify tells all servers of a legacy session what its client has told the node. params is the raw object, nil if
	// absent; passed are the headers of that request which servers get (G-40).
	Notify(session, method string, params []byte, passed http.Header)

	// EndSession releases what servers hold for a legacy session.
	EndSession(session string)
}

// Credentials resolves the credential of a request, by its server, connection, principal and subject. Its faults are Precondition
// (CREDENTIAL_MISSING, CREDENTIAL_UNREADABLE, CREDENTIAL_DEAD, and what an administrator has to mend) and Unavailable.
type Credentials interface {
	Resolve(ctx context.Context, o *call.Outbound) (call.Credential, error)
	// Holds reports whether Resolve has a valid one at hand. It asks nobody.
	Holds(o *call.Outbound) bool
}

// RateLimits counts tool calls (limit room). Its fault is Exhausted with the time to wait (G-50).
type RateLimits interface {
	Call(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool) error
	// Return gives back what Call counted of a call that was not made.
	Return(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool)
	// Look returns the limits that Call would count by, and how far they are used up. Nothing is counted.
	Look(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool) []call.DryLimit
}

// Sealer makes and opens the cursors of lists (M-70), the ids of tasks (M-55), and what modern clients bring back when they were
// asked to connect a server (EL-7) or about a call that waits for an approval (G-34).
type Sealer interface {
	SealCursor(gatewayUID, lastName string) string
	OpenCursor(gatewayUID, cursor string) (lastName string, ok bool)
	exposed.Sealer
	invite.Sealer
	confirm.Sealer
}

// Config is what a Dispatcher needs.
type Config struct {
	Upstream    Upstream
	Credentials Credentials
	Sealer      Sealer
	Links       Links      // nil: nobody can connect servers
	RateLimits  RateLimits // nil: there are none
	Search      Search     // nil: gateways list their tools, whatever they say
	Approvals   Approvals  // nil: calls that need an approval are refused
	Node        string     // name of this node, which no other node has
	// Changed is told that a server's lists have changed, by the names of server and connection: it is discovered anew.
	Changed  func(server, connection string)
	Contexts Contexts // nil: all contexts count as untrusted, but at gateways that say never
	Region   string   // of the node, which conditions of policies may read
	// Homes is asked where calls of homed servers run; nil in a node that is alone.
	Homes  Homes
	Audit  Audit // nil: nothing is recorded
	Log    *slog.Logger
	Tracer trace.Tracer
	Meter  metric.Meter
}

// Dispatcher runs calls. It is safe for concurrent use.
type Dispatcher struct {
	Config
	overhead metric.Float64Histogram
	upstream metric.Float64Histogram
	outcomes map[string][]metric.RecordOption // made once, as are asks: a slice for each call would be made anew
	asks     []trace.SpanStartOption
	hub      hub
	shadowed shadows
	failed   shadows // policies whose conditions failed
	decided  metric.Int64Counter
	tickets  confirm.Tickets
	marked   headerschema.Cache[view.Tool]
}

// Outcomes of a call, the values of the metric attribute "outcome".
const (
	outcomeOK        = "ok"
	outcomeToolError = "tool_error"
	outcomeFault     = "fault"
)

// New returns a Dispatcher. It fails only if the meter refuses an instrument.
func New(cfg Config) (*Dispatcher, error) {
	d := &Dispatcher{Config: cfg, outcomes: make(map[string][]metric.RecordOption), asks: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}}
	for _, o := range []string{outcomeOK, outcomeToolError, outcomeFault} {
		d.outcomes[o] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", o)))}
	}
	var err error
	d.overhead, err = cfg.Meter.Float64Histogram(obs.MetricDispatchOverhead, metric.WithUnit("s"),
		metric.WithDescription("Time of a request spent in the node, without the upstream's."))
	if err != nil {
		return nil, err
	}
	d.upstream, err = cfg.Meter.Float64Histogram(obs.MetricUpstreamCall, metric.WithUnit("s"),
		metric.WithDescription("Time of a request spent waiting for the upstream."))
	if err != nil {
		return nil, err
	}
	d.decided, err = newDecided(cfg.Meter)
	return d, err
}

// Call runs one request. Everything that goes wrong after the tool of a tools/call was found is a result with isError,
// because the model should read it (style.md §5); for other methods it is a fault. sink gets the upstream's notifications
// in order, on this goroutine, before Call returns.
func (d *Dispatcher) Call(ctx context.Context, c call.Caller, k call.Call, sink func([]byte) error) (call.Reply, error) {
	p := &passage{from: c, came: k, goes: k} // what the client asked for stays as it came
	if d.Audit == nil || k.Method != methodCallTool {
		return d.inContext(ctx, &p.from, &p.goes, &p.trail, sink)
	}
	p.caller, p.asked, p.started = &p.from, &p.came, time.Now()
	reply, err := d.inContext(ctx, &p.from, &p.goes, &p.trail, sink)
	d.record(ctx, &p.trail, &reply, err)
	return reply, err
}

// passage is what is known of a call while it runs, in one piece of memory.
type passage struct {
	trail

	from       call.Caller
	came, goes call.Call
}

// inContext is Call in the context that the client names, and leaves in tr what the audit keeps of it.
func (d *Dispatcher) inContext(
	ctx context.Context, c *call.Caller, k *call.Call, tr *trail, sink func([]byte) error,
) (call.Reply, error) {
	if err := d.findContext(ctx, c, k); err != nil {
		return call.Reply{}, err
	}
	reply, err := d.serve(ctx, c, k, tr, sink)
	if err != nil {
		return call.Reply{}, err
	}
	return d.withHandle(c, k, reply)
}

// serve is inContext once the context is found.
func (d *Dispatcher) serve(ctx context.Context, c *call.Caller, k *call.Call, tr *trail, sink func([]byte) error) (call.Reply, error) {
	if reply, done, err := d.ownTool(ctx, c, k); done {
		return reply, err
	}
	start := time.Now()
	came, said, err := d.brought(c, k)
	if err != nil {
		return call.Reply{}, err
	}
	t := &tr.target
	if *t, err = d.find(c, k); err != nil {
		return call.Reply{}, err
	}
	t.came, t.said, t.params, t.sink, tr.run = came, said, k.Params, sink, k
	t.out, t.scan, t.room = &tr.out, &tr.scan, tr.room[:0]
	if t.empty {
		return call.Reply{Result: []byte(`{"completion":{"values":[]}}`)}, nil
	}
	if err := withFixed(k, t); err != nil {
		return call.Reply{}, err
	}
	ctx, span := d.Tracer.Start(ctx, "dispatch")
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String(obs.PenstockGateway, c.Gateway.Name), attribute.String(obs.PenstockServer, t.server),
			attribute.String(obs.PenstockConnection, t.connection), attribute.Int64(obs.PenstockRevision, int64(c.Snapshot.Revision)))
		if t.tool != nil {
			span.SetAttributes(attribute.String(obs.GenAIToolName, t.exposed))
		}
	}

	d.used(ctx, c, k, t)
	reply, err := d.run(ctx, c, k, t, sink, &t.waited)
	waited := t.waited
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeFault
		f := fault.From(err)
		tr.fault = f
		if span.IsRecording() {
			span.SetAttributes(attribute.String(obs.ErrorType, f.Reason))
		}
		reply, err = d.refused(ctx, c, k, t, f) // edge logs what is left
	} else if reply.Error != nil || reply.IsError {
		outcome = outcomeToolError
	}
	if err == nil {
		reply, err = d.carried(c, k, t, reply)
	}
	d.upstream.Record(ctx, waited.Seconds(), d.outcomes[outcome]...)
	d.overhead.Record(ctx, (time.Since(start) - waited - t.person).Seconds(), d.outcomes[outcome]...)
	return reply, err
}

// passes is all that a request passes before it leaves, in this order; a call that is not made passes the same
// ([Dispatcher.Explain]): dry is not nil then, and nothing is returned. The reply is a question to the client, in place of the call. What
// was approved is used last, when nothing else can refuse the call.
func (d *Dispatcher) passes(
	ctx context.Context, c *call.Caller, k *call.Call, t *target, dry *call.Dry,
) (o *call.Outbound, question call.Reply, err error) {
	if err = dry.Step(call.StepState, state(t.tool)); err != nil {
		return nil, question, err
	}
	if err = spelled(c, k, t, dry); err != nil {
		return nil, question, err
	}
	if question, err = d.cleared(ctx, c, k, t, dry); err != nil || question.Result != nil {
		return nil, question, err
	}
	if err = dry.Step(call.StepLimits, d.counted(ctx, c, t, dry)); err != nil {
		return nil, question, err
	}
	if err = d.returned(c, k, t); err != nil {
		return nil, question, err
	}
	if dry != nil {
		_ = dry.Step(call.StepCredential, d.bound(c, k, t, dry))
		d.marks(c, k, t, dry)
		return nil, question, nil
	}
	if o, err = d.outbound(ctx, c, t); err == nil && t.claim != nil {
		question, err = t.claim(ctx)
	}
	return o, question, err
}

func (d *Dispatcher) run(
	ctx context.Context, c *call.Caller, k *call.Call, t *target, sink func([]byte) error, waited *time.Duration,
) (call.Reply, error) {
	if err := d.recordable(t); err != nil {
		return call.Reply{}, err
	}
	o, question, err := d.passes(ctx, c, k, t, nil)
	if t.claim != nil && (err != nil || question.Result != nil) {
		d.uncounted(ctx, c, t)
	}
	if question.Result != nil {
		t.pending = call.OutcomeInputRequired
		return question, nil
	}
	if err != nil {
		return call.Reply{}, err
	}
	o.Method, o.Params, o.ProgressToken, o.Retryable = k.Method, k.Params, k.ProgressToken, t.retryable
	o.TaskRequired = t.tool != nil && isTaskOnly(c, k, o.Server, t.tool)
	d.pass(ctx, c, o)
	screen := d.screen(ctx, c, k, t)
	if o.Client.Asker != nil {
		o.Client.Asker = d.namesOf(c, o.Server, t).Asker(screen.asker(o.Client.Asker))
	}
	if t.tool != nil && wire.Version(o.Server.Protocol).Era() == wire.Modern {
		o.Schema = d.mirrored(t.tool)
	}
	var edits wire.Edits
	if t.round > 0 { // of this node, and of no use to the upstream
		edits.Delete(k.Message.P.RequestState)
		edits.Delete(k.Message.P.InputResponses)
	} else {
		o.State, o.Responses = k.Message.P.RequestState.Of(k.Body), k.Message.P.InputResponses.Of(k.Body)
	}
	switch {
	case edits.Len() > 0:
		if t.at.Present() {
			edits.Replace(t.at, wire.Quote(t.value))
		}
		o.Params = edits.AppendSpan(make([]byte, 0, len(k.Params)+len(t.value)), k.Body, k.Message.Params.Span)
	case t.at.Present():
		o.Params = renamed(k, t)
	}
	ear := d.ear(c, o.Server, t.connection)
	ear.of = t
	t.sent = true
	reply, err := d.send(ctx, o, ear.sink(screen.sink(t.growing(sink))), waited)
	if err != nil {
		return screen.instead(t, k.Method, upstreamRefused(err))
	}
	if reply, err = d.receive(c, t, o.Server, k.Method, reply); err != nil {
		return call.Reply{}, err
	}
	return screen.reply(t, k.Method, reply)
}
