// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/lifetime"
	"github.com/penstockhq/penstock/dataplane/internal/edge/measure"
	"github.com/penstockhq/penstock/dataplane/internal/edge/passed"
	"github.com/penstockhq/penstock/dataplane/internal/edge/result"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// request is one HTTP request on its way through the edge, and the JSON-RPC message in it: the model that both eras
// fill. It is pooled; nothing outside may keep a reference to its bytes.
type request struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	started time.Time
	asked   time.Time // when authn was asked who calls,
	known   time.Time // and when it had answered
	id      string    // see requestID
	status  int       // sent; 0 as long as nothing was, or a stream

	snapshot  *view.Snapshot
	gateway   *view.Gateway
	principal ident.Principal
	carried   *ident.Principal // as another node has verified it, nil for a request of a client of this one
	session   *session.Session // legacy, after initialize

	named      string // how the path names the gateway, with the slash after it if there is one
	toMessages bool   // to the path that clients of HTTP+SSE send to

	form     answer.Form
	version  wire.Version
	method   string // JSON-RPC method
	tool     string // of tools/call, as the client wrote it; of a run_tool, the one that it runs
	audited  bool   // a tools/call that came to the dispatcher, or was said not to
	body     []byte
	broken   error          // of a member of a batch: why msg could not be scanned
	promised []replay.Asked // requests of a batch; nil for one message
	*work

	trace  measure.Trace           // of the client; empty if it sent none
	span   trace.SpanContext       // of the operation; not valid before there is one
	room   []byte                  // memory of body
	out    []byte                  // memory of what is sent
	info   []byte                  // memory of inserted members
	life   *lifetime.Lifetime      // of what the request set off
	cancel context.CancelCauseFunc // ends it, where it is another's

	client call.Client // what upstreams may ask of the client
}

// work is what a request needs for its message. It is most of the memory of a request, so one that has become the stream of
// a session has none (P-6).
type work struct {
	msg     wire.Message
	asks    result.Request // what result answers
	result  result.Reading // of a modern call
	relayed wire.Message   // scan of an upstream's error
}

// keep is the largest buffer that goes back to the pool: one large request must not pin its memory.
const keep = 256 << 10

func (x *request) reset() {
	room, out, info, w := x.room, x.out, x.info, x.work
	if w == nil {
		w = new(work)
	}
	if cap(room) > keep {
		room = nil
	}
	if cap(out) > keep {
		out = nil
	}
	read := w.result
	read.Reset()
	*w = work{result: read}
	*x = request{room: room[:0], out: out[:0], info: info[:0], work: w}
}

// member makes the request of one message of a batch. It shares what belongs to the HTTP request.
func (x *request) member(body []byte) *request {
	m, _ := x.h.requests.Get().(*request)
	m.h, m.w, m.r, m.started = x.h, x.w, x.r, x.started
	m.snapshot, m.gateway, m.principal, m.session = x.snapshot, x.gateway, x.principal, x.session
	m.form, m.version, m.client, m.body = x.form, x.version, x.client, body
	m.asked, m.known, m.named, m.carried = x.asked, x.known, x.named, x.carried
	return m
}

// requestID names the request in errors, logs and audit; it is made at first use.
func (x *request) requestID() string {
	if x.id == "" {
		var room [32]byte
		b := append(room[:0], x.h.idPrefix...)
		x.id = string(strconv.AppendUint(b, x.h.lastID.Add(1), 36))
	}
	return x.id
}

func newIDPrefix() string {
	var raw [6]byte
	_, _ = rand.Read(raw[:]) // crypto/rand never fails: it ends the process instead
	return hex.EncodeToString(raw[:]) + "-"
}

func (x *request) seat() crowd.Seat {
	return crowd.Seat{Gateway: x.gateway.UID, Kind: x.principal.Kind, UID: x.principal.UID}
}

func (x *request) caller() call.Caller {
	return call.Caller{
		Principal: x.principal, Snapshot: x.snapshot, Gateway: x.gateway, Version: x.version, Client: x.client,
		Presented: x.presented(), Passed: x.passed(), Traceparent: x.trace.Parent, Tracestate: x.trace.State, RequestID: x.requestID(),
		Started: x.started,
	}
}

// Again implements [call.Again]. It may run beside the request and changes nothing of it.
func (x *request) Again(c call.Caller) (call.Caller, error) {
	s := x.h.view.Load()
	if s == c.Snapshot {
		return c, nil
	}
	g := s.Gateway(c.Gateway.UID)
	if g == nil {
		return c, fault.New(fault.Denied, ReasonNoGateway, "The gateway was removed.")
	}
	p, err := x.identify(s, g)
	switch {
	case err == nil:
		if !samePrincipal(p, x.principal) {
			return c, fault.New(fault.Denied, reasonRevoked, "The access token is invalid or expired")
		}
		c.Principal = p
	case expired(x.principal) && fault.From(err).Reason != reasonRevoked && s.Usable(g) && s.MayUse(g, x.principal):
		// That it has only expired meanwhile does not count (M-21); what its principal may use, the snapshot can tell.
	default:
		return c, err
	}
	c.Snapshot, c.Gateway, c.Passed = s, g, passed.Of(x.r.Header, g.PassedHeaders)
	return c, nil
}

// presented is the token that the caller was authenticated with, if it is an identity provider's. Another node that has verified the
// caller keeps it.
func (x *request) presented() (p call.Presented) {
	if x.h.shown != nil && x.carried == nil {
		p.Token, p.Provider = x.h.shown(x.r, x.principal)
	}
	return p
}

// passed are the headers that servers get of the client's (G-40).
func (x *request) passed() http.Header {
	if len(x.gateway.PassedHeaders) == 0 {
		return nil
	}
	return passed.Of(x.r.Header, x.gateway.PassedHeaders)
}

// recheck takes the newest snapshot and reports whether the same principal may still use the gateway by it, with a token
// that has not expired: a stream does not live on what authn allows for skewed clocks (RS-11).
func (x *request) recheck() bool {
	s := x.h.view.Load()
	g := s.Gateway(x.gateway.UID)
	if g == nil {
		return false
	}
	p, err := x.identify(s, g)
	if err != nil || !samePrincipal(p, x.principal) || expired(p) {
		return false
	}
	x.snapshot, x.gateway, x.principal = s, g, p
	return true
}

// mayLast reports whether a stream may go on as things are: time alone takes a node's word away (RS-12, D-63).
func (x *request) mayLast() bool {
	if x.h.isDraining() || x.h.stale(x.gateway) {
		return false
	}
	_, err := x.identify(x.snapshot, x.gateway)
	return err == nil
}

func samePrincipal(a, b ident.Principal) bool {
	return a.Kind == b.Kind && a.UID == b.UID && a.ClientID == b.ClientID
}

// read takes the body in (M-16, M-17).
func (x *request) read() (err error) {
	x.body, x.form, err = intake.Read(x.w, x.r, x.room, x.h.limits.Body)
	if cap(x.body) > cap(x.room) {
		x.room = x.body
	}
	return err
}
