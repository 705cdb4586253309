// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/measure"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
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
	session   *session.Session // legacy, after initialize

	form    answer.Form
	version wire.Version
	method  string // JSON-RPC method
	tool    string // of tools/call, as the client wrote it
	body    []byte
	msg     wire.Message
	broken  error // of a member of a batch: why msg could not be scanned

	trace  measure.Trace // of the client; empty if it sent none
	room   []byte        // memory of body
	out    []byte        // memory of what is sent
	info   []byte        // memory of inserted members
	edits  wire.Edits
	cancel context.CancelCauseFunc // ends what the request set off
	result wire.Message            // scan of a tool's result
}

// keep is the largest buffer that goes back to the pool: one large request must not pin its memory.
const keep = 256 << 10

func (x *request) reset() {
	room, out, info, edits := x.room, x.out, x.info, x.edits
	if cap(room) > keep {
		room = nil
	}
	if cap(out) > keep {
		out = nil
	}
	edits.Reset()
	*x = request{room: room[:0], out: out[:0], info: info[:0], edits: edits}
}

// member makes the request of one message of a batch. It shares what belongs to the HTTP request.
func (x *request) member(body []byte) *request {
	m, _ := x.h.requests.Get().(*request)
	m.h, m.w, m.r, m.started = x.h, x.w, x.r, x.started
	m.snapshot, m.gateway, m.principal, m.session = x.snapshot, x.gateway, x.principal, x.session
	m.form, m.version, m.body = x.form, x.version, body
	m.asked, m.known = x.asked, x.known
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
		Principal: x.principal, Snapshot: x.snapshot, Gateway: x.gateway, Version: x.version,
		Traceparent: x.trace.Parent, Tracestate: x.trace.State, RequestID: x.requestID(),
	}
}

// read takes the body in (M-16, M-17).
func (x *request) read() (err error) {
	x.body, x.form, err = intake.Read(x.w, x.r, x.room, x.h.limits.Body)
	if cap(x.body) > cap(x.room) {
		x.room = x.body
	}
	return err
}
