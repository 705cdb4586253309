// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/lifetime"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/mirror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/problem"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// methodOf returns the method of the message.
func (x *request) methodOf() string { return method.Known(x.msg.Method.Of(x.body)) }

// outcome is what a JSON-RPC request came to: a result, a relayed error object, or a failure.
type outcome struct {
	result  []byte // raw object, before what the era adds
	object  []byte // raw JSON-RPC error object of an upstream
	failure *rpcerror.Error
	meta    []byte // raw members for _meta of a list, nil for none
	listed  bool   // the result is edge's own or a list: modern results of this kind can be cached (M-27)
	isError bool   // the result of a tool says that it failed

	sessionID string // to be sent as Mcp-Session-Id
}

// toMCP is the one place where errors become answers (M-46, style.md §5).
func (x *request) toMCP(err error) rpcerror.Error {
	x.noteRefused(err)
	var r *intake.Refusal
	if errors.As(err, &r) {
		return rpcerror.Error{Status: r.Status, Code: wire.CodeInvalidRequest, Message: r.Text}
	}
	e := rpcerror.From(err, rpcerror.Asked{Era: x.version.Era(), URI: x.resource(), Metadata: x.metadataURL()})
	if e.Bug {
		x.h.log.ErrorContext(x.r.Context(), "request broke", obs.Fault(err), slog.String(obs.AttrRequestID, x.requestID()))
		e.Number(x.requestID())
	}
	return e
}

// resource is the raw URI of a request about a resource, else nil.
func (x *request) resource() []byte {
	switch x.method {
	case method.Read, method.Subscribe, method.Unsubscribe:
		return x.msg.P.URI.Of(x.body)
	}
	return nil
}

func (x *request) failed(err error) outcome {
	e := x.toMCP(err)
	return outcome{failure: &e}
}

// respond runs the one request of a POST and answers it.
func (x *request) respond() {
	ctx := x.lifetime()
	defer ctx.Cancel(nil)
	a := x.h.answers.Start(x.w, x.form, x)
	var o outcome
	if x.session == nil {
		o = x.produce(ctx, a.Sink())
	} else {
		asker := x.reach(a)
		o = x.produce(ctx, a.Sink())
		asker.Close()
	}
	if e := o.failure; e != nil {
		if e.Silent {
			a.Abandon()
			return
		}
		if e.Retry > 0 {
			a.Header("Retry-After", problem.Seconds(e.Retry))
		}
		if e.Challenge != "" {
			a.Header("WWW-Authenticate", e.Challenge)
		}
		x.status = e.Status
		a.Finish(e.Status, x.frame(&o))
		return
	}
	if o.sessionID != "" {
		a.Header(headerSession, o.sessionID)
	}
	x.status = x.relayedStatus(&o)
	a.Finish(x.status, x.frame(&o))
}

// relayedStatus is the status of what an upstream answered.
func (x *request) relayedStatus(o *outcome) int {
	if o.object == nil || wire.ScanError(o.object, &x.relayed) != nil {
		return http.StatusOK
	}
	code, _ := wire.Int(x.relayed.E.Code.Of(o.object))
	return rpcerror.Relayed(code, x.version.Era())
}

// lifetime makes the context of what the request sets off. A modern request ends with its connection (M-31); a legacy
// client that disconnects has not canceled anything (M-41), and a call ends by itself (M-49).
func (x *request) lifetime() *lifetime.Lifetime {
	ctx := x.r.Context()
	if x.session != nil {
		ctx = context.WithoutCancel(ctx)
	}
	l := lifetime.New(ctx)
	x.life, x.cancel = l, nil
	return l
}

// stop ends what the request set off.
func (x *request) stop(cause error) { x.stopping()(cause) }

func (x *request) stopping() context.CancelCauseFunc {
	if x.cancel == nil {
		return x.life.Cancel
	}
	return x.cancel
}

// errRevoked is the cause of a call whose caller lost access while it ran.
var errRevoked = errors.New("the caller may not use the gateway any more")

// errDraining is the cause of a stream of another node that this one ends because it shuts down.
var errDraining = errors.New("the node shuts down")

// errLost is the cause of a modern call whose answer can no longer be delivered.
var errLost = errors.New("the client is gone or too slow")

// Lost cancels a modern call: without its stream nobody gets the answer (M-31). A legacy one goes on (M-41).
func (x *request) Lost() {
	if x.session == nil {
		x.stop(errLost)
	}
}

// MayGoOn cancels what the request set off, and reports false, when its caller has lost access. That a token has only
// expired meanwhile does not count (M-21). It runs beside the request and changes nothing of it.
func (x *request) MayGoOn() bool {
	s := x.h.view.Load()
	if s == x.snapshot {
		return true
	}
	if g := s.Gateway(x.gateway.UID); g != nil {
		p, err := x.identify(s, g)
		switch kind := fault.KindOf(err); {
		case err == nil:
			if samePrincipal(p, x.principal) {
				return true
			}
		case expired(x.principal) && fault.From(err).Reason != reasonRevoked:
			if s.Usable(g) && s.MayUse(g, x.principal) {
				return true // the token can tell no more; what its principal may use, the snapshot can
			}
		case kind != fault.Unauthenticated && kind != fault.Denied:
			return true // nobody could tell
		}
	}
	x.stop(errRevoked)
	return false
}

// reasonRevoked is authn's word for a token that was taken away, expired or not.
const reasonRevoked = "TOKEN_REVOKED"

func expired(p ident.Principal) bool {
	return !p.Expires.IsZero() && !time.Now().Before(p.Expires)
}

// produce runs a request within the limits of its caller.
func (x *request) produce(ctx context.Context, sink func([]byte) error) outcome {
	if err := x.admit(); err != nil {
		return x.failed(err)
	}
	defer x.dismiss()
	return x.perform(ctx, sink)
}

// admit counts a request as in flight, in a session so that the client can cancel it; dismiss takes that back.
func (x *request) admit() error {
	x.method = x.methodOf()
	if err := x.counted(); err != nil {
		return err
	}
	if !x.h.crowd.Enter(x.seat(), crowd.Count{Requests: 1}) {
		return rpcerror.Flood("Too many requests are in flight at this gateway.")
	}
	if x.session != nil {
		if err := x.session.Begin(x.msg.ID.Of(x.body), x.stopping()); err != nil {
			x.h.crowd.Leave(x.seat(), crowd.Count{Requests: 1})
			return err //nolint:wrapcheck // a fault with the answer
		}
	}
	return nil
}

// counted counts a request against the limits of its gateway. Notifications and answers to questions are none: what a client
// owes to a request that passed is not refused.
func (x *request) counted() error {
	if x.h.rates == nil {
		return nil
	}
	return x.h.rates.Request(x.r.Context(), x.snapshot, x.gateway, x.principal)
}

func (x *request) dismiss() {
	if x.session != nil {
		x.session.Done(x.msg.ID.Of(x.body))
	}
	x.h.crowd.Leave(x.seat(), crowd.Count{Requests: 1})
}

// perform runs a request under its span.
func (x *request) perform(ctx context.Context, sink func([]byte) error) outcome {
	ctx, op := x.start(ctx)
	o, err := x.execute(ctx, sink)
	if cause := context.Cause(ctx); isFinal(cause) {
		err = cause // even if the answer came at the same time: the client does not expect one (M-51)
		o = outcome{failure: &rpcerror.Error{Silent: true}}
	} else if err != nil {
		if fault.KindOf(err) == fault.Canceled && ctx.Err() == nil {
			err = bug(err) // the client still waits
		}
		o = x.failed(err)
	}
	op.end(ctx, x, &o, err)
	return o
}

// isFinal reports whether a cause means that no answer may be sent.
func isFinal(cause error) bool {
	return errors.Is(cause, session.ErrCancelled) || errors.Is(cause, session.ErrEnded) || errors.Is(cause, errRevoked) || errors.Is(cause, errLost)
}

// execute runs the method of the era. What breaks in it, a panic included, is one request's error and no more.
func (x *request) execute(ctx context.Context, sink func([]byte) error) (o outcome, err error) {
	defer recovered(&err)
	if x.version.Era() == wire.Modern {
		o, err = x.executeModern(ctx, sink)
	} else {
		o, err = x.executeLegacy(ctx, sink)
	}
	if err == nil && o.object == nil && !wire.IsObject(o.result) {
		err = bug(errors.New("the answer has no result"))
	}
	return o, err
}

// recovered is deferred: it makes an error of a panic.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = bug(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

func bug(cause error) error { return fault.New(fault.Bug, fault.ReasonInternal, "").Because(cause) }

// serve answers the methods that the eras share, by the table.
func (x *request) serve(ctx context.Context, sink func([]byte) error) (outcome, error) {
	switch m := method.Find(x.method, x.version, x.gateway); m.Action {
	case method.Listed:
		return x.list(ctx)
	case method.Called:
		if err := m.Check(&x.msg.P, &x.msg.Meta, x.body); err != nil {
			return outcome{}, err
		}
		return x.call(ctx, sink)
	case method.Own, method.Unknown:
	}
	return outcome{}, rpcerror.MethodNotFound()
}

func (x *request) list(ctx context.Context) (outcome, error) {
	var cursor *string
	if raw := x.msg.P.Cursor.Of(x.body); raw != nil {
		text, ok := wire.DecodeString(raw)
		if !ok {
			return outcome{}, rpcerror.InvalidParams("params.cursor must be a string")
		}
		cursor = &text
	}
	page, err := x.h.dispatch.List(ctx, x.caller(), x.method, cursor)
	return outcome{result: page.Result, meta: page.Meta, listed: true}, err
}

func (x *request) call(ctx context.Context, sink func([]byte) error) (outcome, error) {
	name, _ := mirror.Text(x.r.Header["Mcp-Name"], x.msg.P.Name.Of(x.body))
	if x.method == method.CallTool {
		x.tool = name
		if x.gateway.LoadToolsWhenNeeded {
			_, x.tool = x.called()
		}
	}
	caller := x.caller()
	caller.Again = x
	reply, err := x.h.dispatch.Call(ctx, caller, call.Call{
		Method: x.method, Name: name, Params: x.msg.Params.Of(x.body), Message: &x.msg, Body: x.body,
		ProgressToken: x.msg.Meta.ProgressToken.Of(x.body),
	}, sink)
	x.audited = true
	return outcome{result: reply.Result, object: reply.Error, isError: reply.IsError}, err
}

// frame renders the JSON-RPC response. Its parts stay valid until the request is reset.
func (x *request) frame(o *outcome) answer.Body {
	id := x.msg.ID.Of(x.body)
	switch {
	case o.failure != nil:
		x.out = o.failure.Append(x.out[:0], id)
		return answer.Body{x.out}
	case o.object != nil:
		x.out = wire.AppendErrorResponse(x.out[:0], id, o.object)
		return answer.Body{x.out}
	}
	b := append(append(append(x.out[:0], `{"jsonrpc":"2.0","id":`...), id...), `,"result":`...)
	result := o.result
	switch {
	case x.version.Era() == wire.Modern:
		b, result = x.appendModern(b, o)
	case len(o.meta) > 0:
		b = append(append(append(b, `{"_meta":{`...), o.meta...), `},`...)
		result = result[1:]
	}
	head := len(b)
	x.out = append(b, '}')
	return answer.Body{x.out[:head], result, x.out[head:]}
}
