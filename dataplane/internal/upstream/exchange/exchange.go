// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/rewrite"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// Errors of an exchange, besides *[httpclient.Error], *[Garbage] and
// *[SinkError].
var (
	// ErrTooLarge: one message is larger than Peer.Limit.
	ErrTooLarge = errors.New("message too large")
)

// Garbage is an answer that is not MCP.
type Garbage struct {
	What  string // for people: "its result is no object"
	Cause error  // may be nil
}

// Error returns what was wrong, and why.
func (g *Garbage) Error() string {
	if g.Cause == nil {
		return g.What
	}
	return g.What + ": " + g.Cause.Error()
}

// Unwrap returns the cause.
func (g *Garbage) Unwrap() error { return g.Cause }

// SinkError is the receiver's own refusal of a message.
type SinkError struct{ Err error }

// Error returns the refusal.
func (e *SinkError) Error() string { return "relay message: " + e.Err.Error() }

// Unwrap returns the receiver's error.
func (e *SinkError) Unwrap() error { return e.Err }

// Peer is whom the exchange is with.
type Peer struct {
	HTTP *httpclient.Client
	To   *httpclient.Endpoint
	// Pool names the connections to use, see [httpclient.Request.Start].
	Pool string
	// Version decides the headers; empty before initialize is answered.
	Version wire.Version
	// Session is Mcp-Session-Id, "" for none.
	Session string
	// Header are the fields of the settings, Passed those of the client.
	Header, Passed http.Header
	// UserAgent is sent unless Header or Passed has one.
	UserAgent string
	// Limit bounds one message of the peer in bytes.
	Limit int64
}

// Inbound is a message of the upstream that is no response. Its slices are valid
// until the method that gets it returns.
type Inbound struct {
	Method string
	// ID is the raw id of a question, nil for a notification.
	ID []byte
	// Params is the raw params object inside Raw, nil if absent. Raw is the
	// message; progress has the client's token.
	Params, Raw []byte
}

// Receiver takes what comes before the response, one message at a time. An
// error ends the exchange.
type Receiver interface {
	Notification(ctx context.Context, m Inbound) error
	Question(ctx context.Context, m Inbound) error
	// Dropped counts a message that belongs to no request.
	Dropped(ctx context.Context)
}

// Exchange is one message to a peer. It can be reused after Reset; it belongs
// to one goroutine.
type Exchange struct {
	Peer
	// ID is the id of the request, and its progress token.
	ID int64
	// Token is the client's raw progress token; nil if it wants no progress.
	Token []byte
	// Traceparent and Tracestate are sent as headers; empty for none.
	Traceparent, Tracestate string
	// Timeout is restarted by progress; 0 is none, then ctx must end the
	// exchange. Ceiling ends it anyway; zero is none.
	Timeout time.Duration
	Ceiling time.Time
	// Receiver must be set for Request.
	Receiver Receiver

	// Sent says after Request that bytes of it were written, Relayed that the
	// receiver got a notification.
	Sent, Relayed bool

	method  string
	params  []byte
	name    string // Mcp-Name
	until   time.Time
	lastID  string        // where a broken stream would be resumed
	retry   time.Duration // what the stream asked to wait before that
	rewrite rewrite.Rewriter
	req     httpclient.Request
	msg     wire.Message
	edits   wire.Edits
	events  sse.Reader
	body    []byte
	out     []byte
	digits  []byte
}

// Answer is what came back: result or error when the upstream answered in
// JSON-RPC, none of them when it gave only an HTTP status. The bytes belong to
// the receiver.
type Answer struct {
	era.Answer
	Session string // Mcp-Session-Id of the answer
	Scope   bool   // 403 with a challenge that says insufficient_scope (RFC 6750 §3.1)
	Wanted  string // scopes that such a challenge names, with a space between; empty: none
}

// keptScratch is the largest buffer that survives a Reset.
const keptScratch = 64 << 10

// Reset forgets everything but reusable memory.
func (x *Exchange) Reset() {
	x.Peer, x.ID, x.Token, x.Traceparent, x.Tracestate, x.Timeout, x.Ceiling, x.Receiver = Peer{}, 0, nil, "", "", 0, time.Time{}, nil
	x.Sent, x.Relayed, x.method, x.params, x.name, x.lastID = false, false, "", nil, "", ""
	x.edits.Reset()
	x.rewrite.Reset()
	x.events.Reset(nil, 0)
	x.req.Body = nil
	for _, b := range []*[]byte{&x.body, &x.out} {
		if cap(*b) > keptScratch {
			*b = nil
		}
	}
}

// Prepare makes the params of the request, see [rewrite.Rewriter.Params]. The
// version, the progress token and the trace context are filled in here.
func (x *Exchange) Prepare(in rewrite.Input) (err error) {
	in.To, in.Traceparent, in.Tracestate = x.Version, x.Traceparent, x.Tracestate
	if x.Token != nil {
		in.Token = x.idText()
	}
	x.params, x.name, err = x.rewrite.Params(&in)
	return err
}

// SetParams gives the params as they are, in place of Prepare.
func (x *Exchange) SetParams(raw []byte) { x.params = raw }

// Message appends the request, as it would be sent, to dst.
func (x *Exchange) Message(dst []byte, method string) []byte {
	return wire.AppendRequest(dst, x.ID, method, x.params)
}

// Request sends a request with the prepared params and reads the answer to it.
func (x *Exchange) Request(ctx context.Context, method string) (Answer, error) {
	x.method, x.lastID, x.retry = method, "", 0
	x.body = wire.AppendRequest(x.body[:0], x.ID, method, x.params)
	resp, err := x.post(ctx)
	if err != nil {
		x.Sent = httpclient.Sent(err)
		return Answer{}, err
	}
	x.Sent = true
	defer resp.Close()
	return x.read(ctx, resp)
}

// Tell sends a message that has no response, a notification or an answer, and
// returns the HTTP status.
func (x *Exchange) Tell(ctx context.Context, message []byte) (status int, err error) {
	x.body = append(x.body[:0], message...)
	return x.status(x.post(ctx))
}

// Delete ends the peer's session and returns the HTTP status.
func (x *Exchange) Delete(ctx context.Context) (status int, err error) {
	x.head(http.MethodDelete, x.deadline())
	return x.status(x.HTTP.Do(ctx, &x.req))
}

// Get opens a stream of the peer's, after the event lastID unless that is empty
// (Last-Event-ID). until bounds it; zero is no bound. The caller closes the
// response.
func (x *Exchange) Get(ctx context.Context, lastID string, until time.Time) (*httpclient.Response, error) {
	x.head(http.MethodGet, until)
	x.req.Header("Accept", "text/event-stream")
	if lastID != "" {
		x.req.Header("Last-Event-Id", lastID)
	}
	return x.HTTP.Do(ctx, &x.req)
}

// status reads what little there is behind a status, so that the connection can
// be kept.
func (x *Exchange) status(resp *httpclient.Response, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	defer resp.Close()
	x.out, _ = resp.ReadAll(x.out[:0], refusalText)
	return resp.Status, nil
}

// refusalText bounds what is read of a body that nobody needs.
const refusalText = 16 << 10

// post sends x.body as one HTTP request.
func (x *Exchange) post(ctx context.Context) (*httpclient.Response, error) {
	x.until = x.deadline()
	x.head(http.MethodPost, x.until)
	x.req.Header("Content-Type", "application/json")
	x.req.Header("Accept", "application/json, text/event-stream")
	if x.Version.Era() == wire.Modern {
		x.req.Header("Mcp-Method", x.method)
		if x.name != "" {
			x.req.Header("Mcp-Name", x.name)
		}
		for _, f := range x.rewrite.Mirrored() {
			x.req.Header(f.Name, f.Value)
		}
	}
	if x.Traceparent != "" {
		x.req.Header("Traceparent", x.Traceparent)
		if x.Tracestate != "" {
			x.req.Header("Tracestate", x.Tracestate)
		}
	}
	x.req.Body = x.body
	return x.HTTP.Do(ctx, &x.req)
}

// head starts the HTTP request with what every request to an upstream has.
// MCP-Protocol-Version exists from 2025-06-18 on; initialize has none.
func (x *Exchange) head(method string, until time.Time) {
	x.req.Start(method, x.Pool, x.To)
	x.req.Deadline = until
	rewrite.Headers(&x.req, x.Header, x.Passed)
	if x.UserAgent != "" && len(x.Header["User-Agent"])+len(x.Passed["User-Agent"]) == 0 {
		x.req.Header("User-Agent", x.UserAgent)
	}
	if x.Version.AtLeast(wire.V20250618) {
		x.req.Header("Mcp-Protocol-Version", string(x.Version))
	}
	if x.Session != "" {
		x.req.Header("Mcp-Session-Id", x.Session)
	}
}

func (x *Exchange) deadline() time.Time {
	if x.Timeout == 0 {
		return x.Ceiling
	}
	d := time.Now().Add(x.Timeout)
	if !x.Ceiling.IsZero() && d.After(x.Ceiling) {
		return x.Ceiling
	}
	return d
}

// idText returns the id of the request, which is its progress token too.
func (x *Exchange) idText() []byte {
	x.digits = strconv.AppendInt(x.digits[:0], x.ID, 10)
	return x.digits
}
