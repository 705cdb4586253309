// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/offer"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/state"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Upstream reaches the servers behind connections (pools of HTTP and of processes). Faults are those of upstream.
type Upstream interface {
	// Call sends one request. What the upstream says meanwhile goes to sink, by one goroutine at a time, before Call
	// returns; an error of sink ends the call. Cancelling ctx cancels the call upstream.
	Call(ctx context.Context, o *call.Outbound, sink func(call.Event) error) (call.Reply, error)
	// Attach gives what the upstreams of a session say outside of calls to sink, one at a time, until detach is called.
	// reach, which may be nil, resolves the connections of upstream sessions that other nodes opened.
	Attach(session string, reach call.Reach, sink func(connection string, e call.Event)) (detach func())
	// Watch gives the notifications of a subscription to sink until ctx ends, and reconnects meanwhile. It returns nil on
	// cancellation, and a fault if the server has no such thing.
	Watch(ctx context.Context, o *call.Outbound, want call.Subscription, sink func(call.Event) error) error
	// EndSession releases what upstreams hold for a session.
	EndSession(session string)
}

// Notifier is an [Upstream] that passes notifications of clients on.
type Notifier interface {
	// Notify sends a notification to all upstreams of a session, without waiting for them. passed are the headers of the client
	// that it carries (G-40).
	Notify(session, method string, params []byte, passed http.Header)
}

// Config is what a Bridge needs.
type Config struct {
	Upstream Upstream
	Sealer   state.Sealer
	Node     string // name of this node, which no other node has
	Log      *slog.Logger
	Limits   hold.Limits

	// Changed is told that a server's list changed, where its notice came with a call (M-71). nil for nobody.
	Changed func(server, connection string)
	// Schema finds a tool's input schema anew when a server says that the headers made by the known one are wrong (M-47).
	// nil: such a call fails.
	Schema func(ctx context.Context, o *call.Outbound) ([]byte, error)
}

// Bridge relays between eras. It is safe for concurrent use.
type Bridge struct {
	cfg    Config
	offers offer.Cache
	states state.Book
	held   *hold.Table

	sessions sync.Map       // uid of a legacy session -> *sessionState
	working  sync.WaitGroup // upstream calls that may outlive their client's request
}

// New returns a Bridge; it starts nothing.
func New(c Config) *Bridge {
	return &Bridge{cfg: c, states: state.Book{Sealer: c.Sealer}, held: hold.NewTable(c.Limits)}
}

// drainTime is how long calls may go on when the node shuts down (M-95).
const drainTime = 30 * time.Second

// Close ends what is held (M-81, M-95) and returns when the calls that were under way have ended, or after half a
// minute. No Call may be made any more.
func (b *Bridge) Close() error {
	b.held.Drain()
	idle := make(chan struct{})
	go func() {
		b.working.Wait()
		close(idle)
	}()
	late := time.NewTimer(drainTime)
	defer late.Stop()
	select {
	case <-idle:
		return nil
	case <-late.C:
		return errors.New("calls outlive the shutdown")
	}
}

// Call makes a request of a client at an upstream. Messages for the client go to sink, in order, one at a time, before
// Call returns. The reply's result is in the form of Reply.Version, but for one that asks for input, which a modern
// client gets as it is; its error is one that the client may see. Questions of the upstream are put to the client by
// whatever way its era has.
//
// Faults are those of the pools; Precondition where the model is to read why the tool did not run; MissingCapability;
// NotFound for a resource; Invalid for a requestState that is not valid; Exhausted for too many held calls; Unavailable
// for an upstream that asks what it must not.
//
// It sets o.Offer.
func (b *Bridge) Call(ctx context.Context, o *call.Outbound, sink func([]byte) error) (call.Reply, error) {
	upstream := wire.Version(o.Server.Protocol).Era()
	b.setOffer(o, upstream)
	if o.Version.Era() == wire.Modern {
		return b.modern(ctx, o, upstream, sink)
	}
	return b.legacy(ctx, o, upstream, sink)
}

// setOffer is M-59.
func (b *Bridge) setOffer(o *call.Outbound, upstream wire.Era) {
	o.Offer = nil
	if o.Version.Era() == wire.Modern && upstream != wire.Modern && !asksInput(o.Method) {
		return // a question could not be put to the client (M-30)
	}
	o.Offer = b.offers.Of(o.Client.Capabilities, offer.Rules{
		Client: o.Version, Upstream: upstream, Questions: o.Server.Questions, Extensions: o.Gateway.Extensions,
		Shared: o.Server.Stateless,
	})
}

// asksInput reports whether the answer to a method may be a question (M-30).
func asksInput(method string) bool {
	return method == callTool || method == "prompts/get" || method == "resources/read"
}

// callTool is the one method whose answer may be a task.
const callTool = "tools/call"

// once makes the call at the upstream. If the server knows another schema than the one by which headers were made, it did
// not run the call, and gets it again.
func (b *Bridge) once(ctx context.Context, o *call.Outbound, events func(call.Event) error) (call.Reply, error) {
	reply, err := b.cfg.Upstream.Call(ctx, o, events)
	if err != nil || reply.Error == nil || b.cfg.Schema == nil || o.Schema == nil || codeOf(reply.Error) != wire.CodeHeaderMismatch {
		return reply, err
	}
	schema, err := b.cfg.Schema(ctx, o)
	if err != nil || schema == nil || bytes.Equal(schema, o.Schema) {
		return reply, nil //nolint:nilerr // what the server said is the better answer
	}
	again := *o
	again.Schema = schema
	return b.cfg.Upstream.Call(ctx, &again, events)
}

func codeOf(object []byte) int64 {
	var m wire.Message
	if wire.ScanError(object, &m) != nil {
		return 0
	}
	code, _ := wire.Int(m.E.Code.Of(object))
	return code
}

// Notify passes a notification of the client, such as notifications/roots/list_changed, to all upstreams of its legacy
// session, with the headers that came with it and that servers get. params is a raw object or nil.
func (b *Bridge) Notify(session, method string, params []byte, passed http.Header) {
	if n, ok := b.cfg.Upstream.(Notifier); ok && session != "" {
		n.Notify(session, method, params, passed)
	}
}

// EndSession releases what is held for a legacy session that has ended.
func (b *Bridge) EndSession(session string) {
	if s, ok := b.sessions.LoadAndDelete(session); ok {
		s.(*sessionState).end() //nolint:forcetypeassert // nothing else is stored
	}
	b.cfg.Upstream.EndSession(session)
}

// hears returns whether a log message, given by its raw params, is severe enough for a client (M-52).
func hears(level string) func(params []byte) bool {
	return func(params []byte) bool { return isHeard(level, params) }
}

// isHeard is hears for one message.
func isHeard(level string, params []byte) bool {
	least := wire.LogLevel(level)
	if least < 0 {
		return false
	}
	var m wire.Message
	if wire.ScanParams(params, &m) != nil {
		return false
	}
	text, _ := wire.DecodeString(m.P.Level.Of(params))
	return wire.LogLevel(text) >= least
}

// refuse answers a question that nobody is there for.
func refuse(e call.Event) {
	if q := (question.Question{Method: e.Method}); question.Known(e.Method) {
		e.Answer(q.Unanswered())
		return
	}
	e.Answer(question.NotFound())
}

// gone is the fault of a call whose client does not want it any more.
func gone(ctx context.Context) error {
	if f := fault.From(ctx.Err()); f.Kind == fault.Timeout {
		return f.Because(context.Cause(ctx))
	}
	return fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(context.Cause(ctx))
}
