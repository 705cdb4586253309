// SPDX-License-Identifier: Apache-2.0

// Package peer holds the words that all speak who talk to an upstream: the target,
// requests and their results, events, and the faults for what goes wrong.
//
// Called by upstream, which gives these names to its own callers, and by its rooms.
// It must never know how anything is sent.
package peer

import (
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Target is one upstream, resolved for one call. It is immutable.
type Target struct {
	// Server and Connection are names for errors and logs.
	Server, Connection string
	// URL is the server's endpoint: of Streamable HTTP, or the stream's of
	// HTTP+SSE.
	URL string
	// SSE says that the server speaks HTTP+SSE only (2024-11-05); otherwise that
	// is tried last.
	SSE bool
	// Version is the protocol version found by discovery, from the view. Empty
	// means not known: the first call probes (M-2).
	Version wire.Version
	// Header holds the resolved credential and the server's extra headers. It
	// wins over what clients pass through.
	Header http.Header
	// Key is the identity of connection and credential: it separates pools.
	Key string
	// PrincipalKey owns upstream sessions, unless Stateless (M-59), together with PrincipalKind where there are principals of several
	// kinds.
	PrincipalKind, PrincipalKey string
	// Session is the uid of the client's legacy session, which has an upstream
	// session of its own with every upstream (mcp.md §4). Empty for a modern
	// client: its calls lease sessions from a pool, one at a time, or share one
	// where Capabilities is empty.
	Session string
	// Capabilities is the raw ClientCapabilities object to declare; nil for
	// none. Equal bytes share sessions and processes, others do not.
	Capabilities []byte
	// Stateless says that the server keeps nothing about its callers, so that
	// they may share a session.
	Stateless bool
	// CallTimeout is restarted by progress (M-49). Default 60 s.
	CallTimeout time.Duration
	// MaxResponse bounds one message of the upstream in bytes. Default 10 MiB.
	MaxResponse int64
	// MaxConcurrent bounds calls under way for Key on this node, beyond which
	// they wait for a moment; 0 is no bound.
	MaxConcurrent int
}

// Streams reports whether messages that belong to no answer are wanted: there is
// a client that can be asked or told.
func (t *Target) Streams() bool { return t.Session != "" || len(t.Capabilities) > 0 }

// Request is one request to send.
type Request struct {
	// Method is the MCP method, for example "tools/call".
	Method string
	// Params is the raw params object, already with the upstream's names; nil
	// if absent. Reserved _meta keys and the progress token in it are replaced
	// here (M-12, M-61).
	Params []byte
	// ProgressToken is the client's raw token, nil if it sent none. Only then
	// are progress notifications relayed (M-50).
	ProgressToken []byte
	// ClientVersion is the version of the client's side.
	ClientVersion wire.Version
	// Traceparent is sent as header, and in _meta to modern upstreams; empty
	// for none (M-56).
	Traceparent, Tracestate string
	// Schema is the input schema of the tool that is called: Mcp-Param-* headers
	// toward modern servers are made by it (M-63). nil for none.
	Schema []byte
	// LogLevel is the least severe level the client wants; empty for no log
	// messages (M-52). A legacy upstream session is told when it changes.
	LogLevel string
	// Passthrough are the client's headers that the gateway lets through
	// (G-40), in canonical form. They go with this request and with what
	// belongs to it: its cancellation, answers to questions it raises, and the
	// resumption of its stream. What an upstream must not get from a client is
	// dropped again.
	Passthrough http.Header
	// Idempotent says that running the request twice does no harm.
	Idempotent bool
}

// EventKind tells what an [Event] is.
type EventKind uint8

const (
	// Notification is a message without id from the upstream.
	Notification EventKind = iota
	// ServerRequest is a question of the upstream to the client.
	ServerRequest
)

// Event is one message that is not the response to a call. It is valid until
// the sink returns, but for Answer.
type Event struct {
	Kind EventKind
	// Method is the method of the message, for example
	// "notifications/progress".
	Method string
	// Params is the raw params object inside Raw, nil if absent.
	Params []byte
	// Raw is the whole message, with the client's progress token.
	Raw []byte
	// ID is the raw id of a ServerRequest. The upstream takes it back with the
	// notification notifications/cancelled, which is an Event too.
	ID []byte
	// Answer sends the response to a ServerRequest: a raw result object, or, if
	// that is nil, a raw error object. It is called once, from any goroutine,
	// and does not wait for the upstream. nil for a notification.
	Answer func(result, object []byte)
	// Progress sends a notifications/progress about a ServerRequest to the
	// upstream, until it is answered (M-50). params is the raw object, with the
	// upstream's token. nil for a notification.
	Progress func(params []byte)
}

// Result is the answer of an upstream; one of the two is set. The caller owns
// the bytes. They are as the upstream sent them: wire/convert makes them fit
// for a client.
type Result struct {
	// Raw is the result object.
	Raw []byte
	// Error is the JSON-RPC error object.
	Error []byte
	// Version is what the upstream spoke.
	Version wire.Version
}

// Subscription is what Watch is to hear of.
type Subscription struct {
	Tools, Prompts, Resources bool     // list_changed notifications
	URIs                      []string // resources/updated
	TaskIDs                   []string // notifications/tasks, of modern servers

	// Established, if it is set, is called when the server has taken the
	// subscription, and each time that it took it anew: what changes from then
	// on is told.
	Established func()
}

// Description is all that discovery asks a server for; raw JSON objects, byte
// for byte, in the server's order. A list that the server does not declare is
// nil.
type Description struct {
	ServerInfo
	Tools, Prompts, Resources, Templates [][]byte
	// Missing names the lists that the server declares but did not give:
	// "prompts", "resources", "templates". They are nil.
	Missing []string
}

// ServerInfo is what an upstream says about itself. Objects are raw JSON, nil
// where it said nothing.
type ServerInfo struct {
	// Version is the version to use with it from now on, SSE the transport (see
	// Target.SSE).
	Version      wire.Version
	SSE          bool
	Capabilities []byte
	ServerInfo   []byte
	Instructions string
}
