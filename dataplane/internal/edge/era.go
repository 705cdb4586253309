// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Canonical names of the headers that edge reads.
const (
	headerVersion = "Mcp-Protocol-Version" // "H" in mcp.md
	headerSession = "Mcp-Session-Id"       // "S"
	headerEventID = "Last-Event-Id"
)

// route decides the era of an authenticated request by the table of M-1.
func (x *request) route() {
	if err := intake.Head(x.r.Header); err != nil {
		x.fail(err)
		return
	}
	switch x.r.Method {
	case http.MethodPost:
		x.post()
	case http.MethodGet, http.MethodDelete:
		x.getOrDelete()
	default: // row 13
		x.methodNotAllowed()
	}
}

func (x *request) methodNotAllowed() {
	x.w.Header().Set("Allow", allowedMethods)
	x.fail(intake.Refuse(http.StatusMethodNotAllowed, "This method is not allowed here."))
}

// post is rows 1 to 7.
func (x *request) post() {
	if err := x.read(); err != nil {
		x.fail(err)
		return
	}
	declared, era := x.declared()
	if wire.IsBatch(x.body) {
		if x.toMessages { // row 3
			x.message(nil)
			return
		}
		x.postBatch(declared, era)
		return
	}
	err := wire.Scan(x.body, &x.msg)
	m := &x.msg
	switch {
	case m.Meta.ProtocolVersion.Present() && m.Params.Present(): // row 1
		if err != nil {
			x.fail(rpcerror.AtEnvelope(err))
			return
		}
		x.modern()
	case x.toMessages: // row 3
		x.message(err)
	case err != nil:
		if era == wire.Modern || !x.inSession() { // M-23, and row 7; in a session params are the method's matter
			err = rpcerror.AtEnvelope(err)
		}
		x.fail(err)
	case m.Kind == wire.Request && wire.EqualString(m.Method.Of(x.body), "initialize"): // row 2
		x.initialize()
	case era == wire.Modern: // row 4
		x.modern()
	case declared != "" && era == wire.Unknown: // row 5
		x.fail(rpcerror.BadVersion(declared))
	case x.inSession(): // row 6
		x.legacy()
	default: // row 7
		x.fail(sessionRequired())
	}
}

// postBatch is the same for an array, which has no _meta of its own.
func (x *request) postBatch(declared string, era wire.Era) {
	switch {
	case era == wire.Modern:
		x.fail(rpcerror.InvalidRequest("Batches ended with protocol version 2025-03-26."))
	case declared != "" && era == wire.Unknown:
		x.fail(rpcerror.BadVersion(declared))
	case x.inSession():
		x.batch()
	default:
		x.fail(sessionRequired())
	}
}

// getOrDelete is rows 5 and 8 to 12.
func (x *request) getOrDelete() {
	declared, era := x.declared()
	switch {
	case x.toMessages: // a path for POST only
		x.methodNotAllowed()
	case declared != "" && era == wire.Unknown:
		x.fail(rpcerror.BadVersion(declared))
	case era == wire.Modern:
		x.methodNotAllowed()
	case x.inSession() && x.r.Method == http.MethodGet:
		x.listen()
	case x.inSession():
		x.endSession()
	case x.r.Method == http.MethodDelete || era == wire.Legacy:
		x.fail(sessionRequired())
	case x.wantsSSE(): // row 10
		x.openSSE()
	default:
		x.methodNotAllowed()
	}
}

// declared returns the header MCP-Protocol-Version, empty if absent, and the era it means. A repeated header means none.
func (x *request) declared() (string, wire.Era) {
	values := x.r.Header[headerVersion]
	switch len(values) {
	case 0:
		return "", wire.Unknown
	case 1:
		return values[0], wire.Version(values[0]).Era()
	}
	return values[0] + ", " + values[1], wire.Unknown
}

func (x *request) inSession() bool {
	values := x.r.Header[headerSession]
	return len(values) > 0 && values[0] != ""
}

// accept202 answers a notification or response.
func (x *request) accept202() { x.empty(http.StatusAccepted) }

// fail answers with an error before anything was done for the request.
func (x *request) fail(err error) { x.refuse(x.toMCP(err)) }

func (x *request) refuse(e rpcerror.Error) {
	if e.Retry > 0 {
		x.retryAfter(e.Retry)
	}
	if e.Challenge != "" {
		x.w.Header().Set("WWW-Authenticate", e.Challenge)
	}
	x.status = e.Status
	x.out = e.Append(x.out[:0], x.askedID())
	x.h.answers.JSON(x.w, e.Status, answer.Body{x.out})
}

// askedID is the id to answer, nil if there is none: the id of a response is not the client's, and that of a text that
// could not be read to its end may be anything.
func (x *request) askedID() []byte {
	id := x.msg.ID.Of(x.body)
	switch x.msg.Kind {
	case wire.Response, wire.ErrorResponse:
		return nil
	case wire.Invalid:
		if !wire.IsString(id) && len(bytes.Trim(id, "-0123456789")) > 0 {
			return nil
		}
	case wire.Request, wire.Notification:
	}
	return id
}

func sessionRequired() error { return rpcerror.InvalidRequest("Mcp-Session-Id required") }
