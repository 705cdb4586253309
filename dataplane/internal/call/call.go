// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Caller is an authenticated principal at a gateway, seen through one snapshot. It is a value; nobody writes to what
// it points at.
type Caller struct {
	Principal ident.Principal
	Snapshot  *view.Snapshot // everything about the request is decided from this one
	Gateway   *view.Gateway  // of Snapshot
	Version   wire.Version   // protocol version of the client side: of the session, or of a modern request
	Client    Client         // what upstreams may ask of the client

	// Presented is what the request was authenticated with, where that is a token of an identity provider. It must not get into
	// anything that is shared or that outlives the request and the call in it, and goes to no server (JW-13).
	Presented Presented

	// Passed are the headers of this one request that its gateway hands to servers over HTTP, in canonical form and with one
	// value each (G-40); nil for none. They must not get into anything that is shared or that outlives the request.
	Passed http.Header

	// Traceparent and Tracestate are the W3C trace context of the client, from the header or from _meta (M-56); empty
	// if there is none or it is malformed. The context of the request already carries the node's own span as its child.
	Traceparent, Tracestate string
	RequestID               string // made by edge; stands in errors, logs and audit

	Again Again // nil: nothing about the caller can change while the request runs
	// Started is when the request came, zero if edge does not say.
	Started time.Time
}

// Presented is a token of an identity provider that a caller presented at the gateway; empty for callers who came by another way.
type Presented struct {
	Token    obs.Secret
	Provider string // its name
}

// Client is the client of a request, as far as an upstream may turn to it.
type Client struct {
	// Session is the uid of the legacy session; empty for a modern request, which has none.
	Session string
	// Began is when the session began, or the second in that it did.
	Began time.Time
	// Capabilities is the raw ClientCapabilities object that was declared, in initialize or in this request; nil if none.
	Capabilities []byte
	// LogLevel is the least severe log level that the client wants: of the session, or of the modern request. Empty means
	// no log messages (M-52).
	LogLevel string
	// Asker is nil for a modern request: it is asked by a result of type input_required.
	Asker Asker
	// Reach, if it is set, resolves what the session's calls over a connection are made with: whoever listens for the
	// session hears of upstream sessions that other nodes opened (M-91). Offer is not set.
	Reach Reach
}

// Reach resolves a connection for a session. The fault says that the session cannot use it any more.
type Reach func(ctx context.Context, connection string) (*Outbound, error)

// Asker sends requests of upstreams to the client of a legacy session. It is safe for concurrent use, and works until
// the request it came with has been answered.
type Asker interface {
	// Ask sends a request under an id of the node and waits for the response, which may arrive at any node. When ctx ends
	// first, the client is told with notifications/cancelled. The fault is Unavailable if the client cannot be reached or
	// the session ends.
	Ask(ctx context.Context, q Question) (Answer, error)
}

// Question is a request of an upstream to a client.
type Question struct {
	Method string
	Params []byte // raw object, nil if absent
	// Connection is the name of the one that a question outside of calls comes from; empty for that of the call.
	Connection string
	// Progress gets the raw params of the client's notifications/progress about the request, with the upstream's token, until
	// Ask returns (M-50). nil if nobody wants them.
	Progress func(params []byte)
}

// Answer is the response to a request; exactly one of the two is set.
type Answer struct {
	Result []byte // raw result object
	Error  []byte // raw JSON-RPC error object
}

// Call is one request that an upstream answers: tools/call, prompts/get, resources/read, resources/subscribe,
// resources/unsubscribe, completion/complete, tasks/*. All bytes belong to edge and live until Call returns.
type Call struct {
	Method  string        // of the request
	Name    string        // tool, prompt: name as the client wrote it, decoded; empty for methods without one
	Params  []byte        // raw params object as the client sent it
	Message *wire.Message // scan of Body; its spans index Body
	Body    []byte        // raw JSON-RPC request, one message (of a batch: that member)

	// ProgressToken is the raw params._meta.progressToken, nil if the client sent none. Messages given to the sink must
	// carry it in place of the node's own.
	ProgressToken []byte
	// Context is what the call belongs to, where its client has named one or asks for one (G-33). edge leaves it unset.
	Context *Context
	// Wrapped says that the client sent a run_tool in place of this call: it may not know what the tool's definition says beside
	// its input schema. edge leaves it unset.
	Wrapped bool
}

// Context is what a call belongs to, as far as trust goes (G-33): a legacy session, or else a gateway with a principal and its
// client. It is a value that nobody writes to.
type Context struct {
	Base    string    // key of it
	Session bool      // it is a legacy session
	Began   time.Time // of the session, or the second in that it did

	Handle *Handle // the part of it that the client keeps apart; nil if it does not
}

// Handle is a context that a client tells apart from others of its own.
type Handle struct {
	Key   string
	Began time.Time
	New   bool  // the client asks for it with this call
	Trust Trust // that it began with
}

// Trust is what is known of a context.
type Trust struct {
	Untrusted bool
	Sources   []string // servers whose results made it so, sorted
	Unknown   bool     // it counts as untrusted because nobody can tell; there may be other sources
}

// ToRun is what a run_tool asks for (G-23): Tool with its Arguments, or nothing, for the reason that Refusal says.
type ToRun struct {
	Tool      *view.Tool
	Arguments []byte // raw object, nil for none
	Refusal   []byte // raw result with isError; nil if Tool is set

	Reason, Text string // of Refusal: the type of its penstock_error, and what it says but for schemas
}

// Reply is the outcome of a call that an upstream, or dispatch in its place, answered. Exactly one of Result and Error
// is set.
type Reply struct {
	Result []byte // raw result object; what edge gets is in the form of Caller.Version
	Error  []byte // raw JSON-RPC error object relayed from upstream

	// Version is the version that the upstream spoke, where one did. edge does not read it.
	Version wire.Version

	// IsError says that Result has isError true. edge sets error.type of span and metric by it; nothing else reads it.
	IsError bool
}

// Page is one page of a list, without what a modern result has besides.
type Page struct {
	Result []byte // raw result object; its members are the list and, if there are more pages, nextCursor, and no others
	Meta   []byte // raw members for the result's _meta, comma-separated, without braces; nil for none
}

// Outbound is one request on its way to a server.
type Outbound struct {
	Gateway    *view.Gateway
	Server     *view.Server
	Connection *view.Connection
	Credential Credential
	Principal  ident.Principal
	// Subject is what the caller presented, where Server has it exchanged; empty where it is of no use to the server's credential. It
	// is for the authserver alone.
	Subject Presented
	Client  Client
	Version wire.Version // of the client side

	Method string
	Params []byte // raw params with the upstream's names, URIs, cursors and task ids; nil if absent
	// Schema is the input schema that Mcp-Param-* headers for a modern server are made by (M-63); nil for methods other
	// than tools/call.
	Schema []byte
	// TaskRequired says that the server runs the tool only as a task of 2025-11-25, and that the client knows no such tasks.
	TaskRequired bool
	// Offer is the raw ClientCapabilities object declared upstream (M-59); nil for none. bridge sets it.
	Offer []byte

	// State and Responses are the raw requestState and inputResponses of a modern client's retry (M-78), nil if absent;
	// Params holds them as well.
	State, Responses []byte

	Passed http.Header // of Caller, for requests and what belongs to them; never for sessions and subscriptions

	ProgressToken []byte // raw token of the client, nil if it sent none: notifications carry it
	Traceparent   string
	Tracestate    string
	Retryable     bool // the request is read-only or idempotent (G-51)
}

// Credential is what a call authenticates upstream with. Values are secret; maps are shared and never written to.
type Credential struct {
	Key    string // identity of the credential, stable while it is the same; empty for none
	Header http.Header
	Env    map[string]obs.Secret
	// Serial tells credentials of one key apart: it is another one whenever it was fetched anew.
	Serial uint64
}

// Event is a message of an upstream that is not the response to a call. It is valid until the function that gets it
// returns, but for Answer.
type Event struct {
	Method string
	// Params is the raw params object inside Raw, nil if absent.
	Params []byte
	// Raw is the whole message; in a notification of a call, with the client's progress token.
	Raw []byte
	// ID is the raw id of a request of the upstream, nil for a notification. An upstream takes a request back with
	// notifications/cancelled, which is an event of its own.
	ID []byte
	// Answer sends the response to a request, nil for a notification. It is called once, from any goroutine, and returns
	// without waiting for the upstream.
	Answer func(Answer)
	// Progress sends the raw params of a notifications/progress about a request, which has no answer yet, and returns when
	// the upstream has it, or will not. nil for a notification.
	Progress func(params []byte)
}

// Subscription is what a client wants to hear of, or hears of (subscriptions/listen, M-29).
type Subscription struct {
	Tools, Prompts, Resources bool     // list_changed notifications
	URIs                      []string // resources/updated; as the client writes them at edge, as the upstream does below dispatch
	TaskIDs                   []string // notifications/tasks

	// Established, if it is set, is called when the server has taken the subscription: what changes from then on is
	// told. It is called once or more.
	Established func()
}
