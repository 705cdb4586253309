// SPDX-License-Identifier: Apache-2.0

// Package result makes of a result what a modern client gets: resultType, serverInfo and the members that say how long
// it may be kept (mcp.md M-26, M-27, M-30). Every other byte leaves as it came.
//
// edge uses it. It must never know HTTP or who is calling.
package result

import (
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/capability"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonUpstream is the reason of the fault of [Request.Read]: the server behind the gateway answered what it may not.
const ReasonUpstream = "UPSTREAM_RESULT_INVALID"

// maxTTL is the longest that a client is told to keep a resource (M-27).
const maxTTL = 5 * time.Minute

// Request is what a result answers.
type Request struct {
	Method string
	Row    method.Method
	// Capabilities is the raw clientCapabilities object of the request.
	Capabilities []byte
	// Extensions are those that the gateway declares, by name.
	Extensions map[string][]byte
	// Retry says that the request answered a question: its result is not to be kept (M-27).
	Retry bool
}

// Reading is a result that was looked at.
type Reading struct {
	message  wire.Message
	complete bool
	keep     time.Duration // of a resource
	edits    wire.Edits
	room     []byte
	word     words
}

// words are the values that are inserted: made once, because an insertion of a constant would copy it each time.
type words struct{ complete, private []byte }

// Reset forgets the result and keeps the memory.
func (r *Reading) Reset() {
	r.edits.Reset()
	*r = Reading{edits: r.edits, room: r.room[:0], word: r.word}
}

// Read looks at a raw result. The fault is Unavailable if the upstream must not answer that: a resultType that nobody
// negotiated, or a question of a kind that this request did not declare.
func (r *Reading) Read(q *Request, raw []byte) error {
	m := &r.message
	r.complete, r.keep = false, 0
	if err := wire.ScanResult(raw, m); err != nil {
		return upstream("its result cannot be read").Because(err)
	}
	kind := m.R.ResultType.Of(raw)
	switch {
	case kind == nil, wire.EqualString(kind, "complete"):
		r.complete = true
	case wire.EqualString(kind, "input_required"):
		return r.readQuestions(q, raw)
	case wire.EqualString(kind, "task"):
		if q.Method != method.CallTool || !q.negotiated(compile.ExtensionTasks) {
			return upstream("its result is a task, which the client cannot follow")
		}
	case q.Row.Foreign && wire.IsString(kind):
	default:
		return upstream("its result is of a type that is not known")
	}
	if r.complete && q.Method == method.Read && !q.Retry {
		if ms, ok := wire.Int(m.R.TTLMs.Of(raw)); ok && ms > 0 {
			r.keep = time.Duration(min(ms, maxTTL.Milliseconds())) * time.Millisecond
		}
	}
	return nil
}

func (q *Request) negotiated(extension string) bool {
	_, ok := q.Extensions[extension]
	return ok && capability.Extension(q.Capabilities, extension)
}

// readQuestions is M-30.
func (r *Reading) readQuestions(q *Request, raw []byte) error {
	m := &r.message
	asked := m.R.InputRequests.Of(raw)
	switch {
	case !q.Row.InputRequired && !q.Row.Foreign:
		return upstream("it asks for input where it may not")
	case asked == nil && !m.R.RequestState.Present():
		return upstream("it asks for input and does not say for which")
	case asked == nil:
		return nil
	}
	var room [4]wire.Field
	fields, err := wire.Fields(room[:0], asked)
	if err != nil {
		return upstream("its questions cannot be read").Because(err)
	}
	for i := range fields {
		question := fields[i].Of(asked)
		var members []wire.Field
		if members, err = wire.Fields(nil, question); err != nil {
			return upstream("its questions cannot be read").Because(err)
		}
		name, _ := wire.DecodeString(wire.Lookup(members, "method").Of(question))
		if !capability.CanAnswer(q.Capabilities, name, wire.Lookup(members, "params").Of(question)) {
			return upstream("it asks what the client did not offer to answer")
		}
	}
	return nil
}

func upstream(text string) *fault.Fault {
	return fault.New(fault.Unavailable, ReasonUpstream, "The server's answer is not valid: "+text+".")
}

// Append appends the result raw that was read before, with what belongs into every modern result. serverInfo is the raw
// Implementation object of the gateway.
func (r *Reading) Append(dst, raw []byte, q *Request, serverInfo []byte) []byte {
	m, e := &r.message, &r.edits
	e.Reset()
	r.room = r.room[:0]
	if r.word.complete == nil {
		r.word = words{[]byte(`"complete"`), []byte(`"private"`)}
	}
	if m.R.Meta.Present() {
		e.Set(m.R.Meta.Span, m.Meta.ServerInfo, wire.MetaServerInfo, serverInfo)
	} else {
		r.room = append(append(append(r.room, `{"`+wire.MetaServerInfo+`":`...), serverInfo...), '}')
		e.Insert(m.Result.Span, "_meta", r.room)
	}
	if !m.R.ResultType.Present() {
		e.Insert(m.Result.Span, "resultType", r.word.complete)
	}
	if r.complete && q.Method == method.Read {
		e.Set(m.Result.Span, m.R.TTLMs, "ttlMs", strconv.AppendInt(nil, r.keep.Milliseconds(), 10))
		e.Set(m.Result.Span, m.R.CacheScope, "cacheScope", r.word.private)
	}
	return e.AppendTo(dst, raw)
}

// AppendHead appends the start of a list or of the answer to server/discover: an open object with all that goes before
// the members of its own, which the caller appends from their first quote on. identity is the raw serverInfo, meta raw
// members of _meta, nil for none.
func AppendHead(dst []byte, ttl time.Duration, identity, meta []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"resultType":"complete","ttlMs":`...), ttl.Milliseconds(), 10)
	dst = append(dst, `,"cacheScope":"private","_meta":{"`+wire.MetaServerInfo+`":`...)
	dst = append(dst, identity...)
	if len(meta) > 0 {
		dst = append(append(dst, ','), meta...)
	}
	return append(dst, `},`...)
}
