// SPDX-License-Identifier: Apache-2.0

// Package rewrite makes the params and headers that an upstream gets out of
// those that a client sent: reserved _meta keys removed or made anew (mcp.md
// M-61), the progress token replaced (M-12), the trace context set (M-56),
// Mcp-Name and Mcp-Param-* (M-63), and header fields filtered (gateway.md G-41, G-42).
//
// Called by upstream. It must never know connections, sessions or where bytes
// go.
package rewrite

import (
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/mirrored"
)

// relatedTask is a key of the reserved prefix that legacy requests carry
// themselves (2025-11-25 tasks).
const relatedTask = wire.ReservedPrefix + "related-task"

// Input is what a request says before it is rewritten.
type Input struct {
	// Method and Params are those of the request; Params is raw, nil if absent.
	Method string
	Params []byte
	// To is the upstream's version, From the client's.
	To, From wire.Version
	// Token is the raw progress token to send, nil for none; whatever the
	// client sent is replaced or removed.
	Token []byte
	// ClientInfo is the raw clientInfo that modern upstreams see.
	ClientInfo []byte
	// Capabilities is the raw object of client capabilities that modern
	// upstreams see; nil for none.
	Capabilities []byte
	// LogLevel is the least severe level of log messages that modern upstreams
	// are to send; empty leaves what a modern client asked for.
	LogLevel string
	// Traceparent and Tracestate go into _meta of modern requests; empty for
	// none.
	Traceparent, Tracestate string
	// Schema is the input schema that marks arguments to be repeated in headers
	// of modern requests (M-63); nil for none.
	Schema []byte
}

// Rewriter holds the memory of rewriting, for use again and again by one
// goroutine. The zero value is ready.
type Rewriter struct {
	msg      wire.Message
	edits    wire.Edits
	buf      []byte
	mirrored []mirrored.Field
}

// Mirrored returns the Mcp-Param-* fields that go with the params made last. They
// are valid until the next call of [Rewriter.Params].
func (w *Rewriter) Mirrored() []mirrored.Field { return w.mirrored }

// Params returns the params to send, nil if there are none, and the value of
// Mcp-Name for a modern upstream, "" if the method has none. The params are
// valid until the next call. It returns a fault of Kind Invalid if the params
// are no object or have a key twice where they are read.
func (w *Rewriter) Params(in *Input) (params []byte, name string, err error) {
	raw, modern := in.Params, in.To.Era() == wire.Modern
	w.mirrored = w.mirrored[:0]
	if raw == nil {
		if !modern && in.Token == nil {
			return nil, "", nil
		}
		raw = []byte(`{}`)
	}
	m, e := &w.msg, &w.edits
	if err := wire.ScanParams(raw, m); err != nil {
		return nil, "", err
	}
	e.Reset()
	if err := w.strip(raw, in, modern); err != nil {
		return nil, "", err
	}
	w.meta(in, modern)
	if modern {
		name = nameOf(in.Method, m, raw)
		if in.Schema != nil {
			w.mirrored = mirrored.Append(w.mirrored, in.Schema, m.P.Arguments.Of(raw))
		}
	}
	if e.Len() == 0 {
		return raw, name, nil
	}
	w.buf = e.AppendSpan(w.buf[:0], raw, m.Params.Span)
	return w.buf, name, nil
}

// strip removes the keys of _meta that only a client's own hop may see.
func (w *Rewriter) strip(raw []byte, in *Input, modern bool) error {
	if w.msg.Meta.Reserved+w.msg.Meta.Own == 0 {
		return nil
	}
	keep := relatedTask
	if modern {
		keep = ""
		if in.From.Era() == wire.Modern && in.LogLevel == "" {
			keep = wire.MetaLogLevel
		}
	}
	return wire.StripMeta(&w.edits, raw, w.msg.P.Meta.Span, keep, wire.ReservedPrefix, wire.OwnPrefix)
}

// meta adds what the upstream needs in _meta, making the object if there is
// none.
func (w *Rewriter) meta(in *Input, modern bool) {
	m, meta := &w.msg, w.msg.P.Meta.Span
	var fresh []byte // members of a _meta that must be made
	set := func(old wire.Member, key string, value []byte) {
		if meta.Present() {
			w.edits.Set(meta, old, key, value)
			return
		}
		fresh = append(append(wire.AppendString(append(fresh, ','), key), ':'), value...)
	}
	if modern {
		// What the client sent under these keys was removed.
		set(wire.Member{}, wire.MetaProtocolVersion, []byte(`"`+string(in.To)+`"`))
		set(wire.Member{}, wire.MetaClientInfo, in.ClientInfo)
		set(wire.Member{}, wire.MetaClientCapabilities, orEmpty(in.Capabilities))
		if in.LogLevel != "" {
			set(wire.Member{}, wire.MetaLogLevel, wire.Quote(in.LogLevel))
		}
		if in.Traceparent != "" {
			set(m.Meta.Traceparent, "traceparent", wire.Quote(in.Traceparent))
			if in.Tracestate != "" {
				set(m.Meta.Tracestate, "tracestate", wire.Quote(in.Tracestate))
			} else {
				w.edits.Delete(m.Meta.Tracestate) // it belongs to another traceparent
			}
		}
	}
	w.edits.Delete(m.Meta.Baggage) // it may say anything about the caller: nobody has allowed a member of it (M-56)
	if in.Token != nil {
		set(m.Meta.ProgressToken, "progressToken", in.Token)
	} else {
		w.edits.Delete(m.Meta.ProgressToken)
	}
	if len(fresh) > 0 {
		fresh[0] = '{'
		w.edits.Insert(m.Params.Span, "_meta", append(fresh, '}'))
	}
}

func orEmpty(object []byte) []byte {
	if len(object) == 0 {
		return []byte(`{}`)
	}
	return object
}

// Reset drops what the last request left, and large memory with it.
func (w *Rewriter) Reset() {
	w.edits.Reset()
	clear(w.mirrored)
	w.mirrored = w.mirrored[:0]
	if cap(w.buf) > keptBuffer {
		w.buf = nil
	}
}

const keptBuffer = 64 << 10

// nameOf returns the value of Mcp-Name for a request (M-24).
func nameOf(method string, m *wire.Message, raw []byte) string {
	var value wire.Member
	switch method {
	case "tools/call", "prompts/get":
		value = m.P.Name
	case "resources/read":
		value = m.P.URI
	case "tasks/get", "tasks/update", "tasks/cancel":
		value = m.P.TaskID
	}
	s, _ := wire.DecodeString(value.Of(raw))
	return mirrored.Text(s)
}

// Setter takes header fields.
type Setter interface {
	Values(name string, values []string)
}

// Headers writes the header fields that come from the server's settings and
// from the client. Fields that the MCP client writes itself, and those a client
// must not decide (G-41), are left out; the credential wins a conflict (G-42).
func Headers(to Setter, fixed, passed http.Header) {
	for name, values := range fixed {
		if !written(name) {
			to.Values(name, values)
		}
	}
	for name, values := range passed {
		if len(fixed.Values(name)) == 0 && !written(name) && !forbidden(name) {
			to.Values(name, values)
		}
	}
}

// written reports whether a field is the MCP client's or the HTTP client's own.
func written(name string) bool {
	if len(name) > 4 && strings.EqualFold(name[:4], "mcp-") {
		return true
	}
	switch http.CanonicalHeaderKey(name) {
	case "Accept", "Content-Type", "Traceparent", "Tracestate", "Last-Event-Id",
		"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection",
		"Te", "Trailer", "Upgrade", "Expect", "Accept-Encoding":
		return true
	}
	return false
}

// forbidden reports whether a field may never come from a client (G-41).
func forbidden(name string) bool {
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie", "Dpop", "X-Api-Key", "Forwarded", "X-Real-Ip":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}
