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
	"github.com/penstockhq/penstock/dataplane/internal/edge/problem"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// The methods that edge knows by name.
const (
	methodInitialize = "initialize"
	methodPing       = "ping"
	methodDiscover   = "server/discover"
	methodListTools  = "tools/list"
	methodCallTool   = "tools/call"
	methodCancelled  = "notifications/cancelled"
)

// methodOf returns the method of the message; for those that edge knows it allocates nothing.
func (x *request) methodOf() string {
	raw := x.msg.Method.Of(x.body)
	for _, known := range [...]string{methodCallTool, methodListTools, methodPing, methodInitialize, methodDiscover, methodCancelled} {
		if wire.EqualString(raw, known) {
			return known
		}
	}
	name, _ := wire.DecodeString(raw)
	return name
}

// outcome is what a JSON-RPC request came to: a result, a relayed error object, or a failure.
type outcome struct {
	result  []byte // raw object, before what the era adds
	object  []byte // raw JSON-RPC error object of an upstream
	failure *rpcerror.Error
	listed  bool // the result is edge's own or a list: modern results of this kind can be cached (M-27)
	isError bool // the result of a tool says that it failed

	sessionID string // to be sent as Mcp-Session-Id
}

// toMCP is the one place where errors become answers (M-46, style.md §5).
func (x *request) toMCP(err error) rpcerror.Error {
	var r *intake.Refusal
	if errors.As(err, &r) {
		return rpcerror.Error{Status: r.Status, Code: wire.CodeInvalidRequest, Message: r.Text}
	}
	e := rpcerror.From(err, x.version.Era())
	if e.Bug {
		x.h.log.ErrorContext(x.r.Context(), "request broke", obs.Fault(err), slog.String(obs.AttrRequestID, x.requestID()))
		e.Number(x.requestID())
	}
	return e
}

func (x *request) failed(err error) outcome {
	e := x.toMCP(err)
	return outcome{failure: &e}
}

// respond runs the one request of a POST and answers it.
func (x *request) respond() {
	ctx, cancel := x.lifetime()
	defer cancel(nil)
	a := x.h.answers.Start(x.w, x.form, x)
	o := x.produce(ctx, a.Sink())
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
	x.status = http.StatusOK
	a.Finish(x.status, x.frame(&o))
}

// lifetime makes the context of what the request sets off. A modern request ends with its connection (M-31); a legacy
// client that disconnects has not canceled anything (M-41), and a call ends by itself (M-49).
func (x *request) lifetime() (context.Context, context.CancelCauseFunc) {
	ctx := x.r.Context()
	if x.session != nil {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, x.cancel = context.WithCancelCause(ctx)
	return ctx, x.cancel
}

// errRevoked is the cause of a call whose caller lost access while it ran.
var errRevoked = errors.New("the caller may not use the gateway any more")

// MayGoOn cancels what the request set off, and reports false, when its caller has lost access. That a token has only
// expired meanwhile does not count (M-21). It runs beside the request and changes nothing of it.
func (x *request) MayGoOn() bool {
	s := x.h.view.Load()
	if s == x.snapshot {
		return true
	}
	if t := x.principal.Expires; !t.IsZero() && !time.Now().Before(t) {
		return true
	}
	if g := s.Gateway(x.gateway.UID); g != nil {
		p, err := x.h.authn.Authenticate(s, g, x.r)
		if err == nil && samePrincipal(p, x.principal) {
			return true
		}
		if kind := fault.KindOf(err); err != nil && kind != fault.Unauthenticated && kind != fault.Denied {
			return true // nobody could tell
		}
	}
	x.cancel(errRevoked)
	return false
}

// produce runs a request within the limits of its caller and, in a session, so that the client can cancel it.
func (x *request) produce(ctx context.Context, sink func([]byte) error) outcome {
	x.method = x.methodOf()
	one := crowd.Count{Requests: 1}
	if !x.h.crowd.Enter(x.seat(), one) {
		return x.failed(rpcerror.Flood("Too many requests are in flight at this gateway."))
	}
	defer x.h.crowd.Leave(x.seat(), one)
	if x.session != nil {
		id := x.msg.ID.Of(x.body)
		if err := x.session.Begin(id, x.cancel); err != nil {
			return x.failed(err)
		}
		defer x.session.Done(id)
	}
	return x.perform(ctx, sink)
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
	return errors.Is(cause, session.ErrCancelled) || errors.Is(cause, session.ErrEnded) || errors.Is(cause, errRevoked)
}

// execute runs the method of the era. What breaks in it, a panic included, is one request's error and no more.
func (x *request) execute(ctx context.Context, sink func([]byte) error) (o outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = bug(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
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

func bug(cause error) error { return fault.New(fault.Bug, fault.ReasonInternal, "").Because(cause) }

// listTools answers tools/list of both eras.
func (x *request) listTools(ctx context.Context) (outcome, error) {
	cursor := ""
	if raw := x.msg.P.Cursor.Of(x.body); raw != nil {
		var ok bool
		if cursor, ok = wire.DecodeString(raw); !ok {
			return outcome{}, rpcerror.InvalidParams("params.cursor must be a string")
		}
	}
	result, err := x.h.dispatch.ListTools(ctx, x.caller(), cursor)
	return outcome{result: result, listed: true}, err
}

// callTool answers tools/call of both eras.
func (x *request) callTool(ctx context.Context, sink func([]byte) error) (outcome, error) {
	p := &x.msg.P
	name, ok := wire.DecodeString(p.Name.Of(x.body))
	if !ok {
		return outcome{}, rpcerror.InvalidParams("params.name must be a string")
	}
	if raw := p.Arguments.Of(x.body); raw != nil && !wire.IsObject(raw) {
		return outcome{}, rpcerror.InvalidParams("params.arguments must be an object")
	}
	token := x.msg.Meta.ProgressToken.Of(x.body)
	if token != nil && !wire.IsString(token) {
		if _, ok := wire.Int(token); !ok {
			return outcome{}, rpcerror.InvalidParams("the progress token must be a string or an integer")
		}
	}
	x.tool = name
	reply, err := x.h.dispatch.CallTool(ctx, x.caller(), call.Call{
		Name: name, Params: x.msg.Params.Of(x.body), Message: &x.msg, Body: x.body, ProgressToken: token,
	}, sink)
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
	if x.version.Era() == wire.Modern {
		b, result = x.appendModern(b, o)
	}
	head := len(b)
	x.out = append(b, '}')
	return answer.Body{x.out[:head], result, x.out[head:]}
}
