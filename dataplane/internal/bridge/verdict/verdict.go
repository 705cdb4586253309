// SPDX-License-Identifier: Apache-2.0

// Package verdict says what the JSON-RPC error of an upstream is to a client (mcp.md M-46, M-47): most pass unchanged, a
// few have another number in the other era, and those that speak of the conversation between one client and its server
// would be lies about the client's own.
//
// bridge uses it. It must never know calls under way.
package verdict

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults made here.
const (
	// ReasonCapability: the upstream demands what the client did not declare (M-46).
	ReasonCapability = "CLIENT_CAPABILITY_MISSING"
	// ReasonResource: the upstream does not have the resource.
	ReasonResource = "RESOURCE_NOT_FOUND"
	// ReasonPage: the person has to open a page, and the client cannot show it.
	ReasonPage = "PAGE_REQUIRED"
)

// lowest is the end of the range whose codes the specification gives a meaning between one client and its server.
const lowest = -32099

// Error is an error object that was read.
type Error struct {
	raw  []byte
	code int64
	m    wire.Message
}

// Read reads a raw error object. One that cannot be read is an internal error without a text.
func Read(raw []byte) *Error {
	e := &Error{raw: raw, code: wire.CodeInternal}
	if wire.ScanError(raw, &e.m) != nil {
		e.raw = wire.AppendErrorObject(nil, wire.CodeInternal, "The server answered with a malformed error", nil)
		_ = wire.ScanError(e.raw, &e.m) // made here
		return e
	}
	if code, ok := wire.Int(e.m.E.Code.Of(raw)); ok {
		e.code = code
	}
	return e
}

// Code is the number of the error.
func (e *Error) Code() int64 { return e.code }

// Message is its text.
func (e *Error) Message() string {
	text, _ := wire.DecodeString(e.m.E.Message.Of(e.raw))
	return text
}

// Case is what an error answers.
type Case struct {
	Method string
	Params []byte // raw, as the upstream got them
	// Client and Upstream are the versions of the two sides.
	Client, Upstream wire.Version
}

// Reply returns what the client gets. -32042 is not decided here: it passes.
func (e *Error) Reply(c Case) (call.Reply, error) {
	switch {
	case e.code == wire.CodeURLElicitation && c.Upstream.Era() == wire.Legacy:
	case e.code == wire.CodeMissingCapability:
		return e.capability(c)
	case e.code <= wire.CodeHeaderMismatch && e.code >= lowest:
		return call.Reply{Error: e.internal()}, nil
	case c.Method == "resources/read" && c.Client.Era() != c.Upstream.Era():
		return e.resource(c)
	}
	return call.Reply{Error: e.raw}, nil
}

// internal is the error with a number that claims nothing.
func (e *Error) internal() []byte {
	data := strconv.AppendInt([]byte(`{"upstream_code":`), e.code, 10)
	return wire.AppendErrorObject(nil, wire.CodeInternal, e.Message(), append(data, '}'))
}

// resource turns the two forms of "there is no such resource" into each other.
func (e *Error) resource(c Case) (call.Reply, error) {
	gone := e.code == wire.CodeResourceNotFound
	if c.Upstream.Era() == wire.Modern {
		gone = e.code == wire.CodeInvalidParams && e.names(c.Params)
	}
	if !gone {
		return call.Reply{Error: e.raw}, nil
	}
	// edge writes the number of the client's era, and the URI as the client wrote it.
	return call.Reply{}, fault.New(fault.NotFound, ReasonResource, e.Message())
}

// names reports whether data.uri is the URI of the request.
func (e *Error) names(params []byte) bool {
	var m wire.Message
	if wire.ScanParams(params, &m) != nil {
		return false
	}
	uri, ok := wire.DecodeString(m.P.URI.Of(params))
	return ok && wire.EqualString(e.datum("uri"), uri)
}

// datum returns a member of data.
func (e *Error) datum(name string) []byte {
	data := e.m.E.Data.Of(e.raw)
	if !wire.IsObject(data) {
		return nil
	}
	fields, err := wire.Fields(nil, data)
	if err != nil {
		return nil
	}
	return wire.Lookup(fields, name).Of(data)
}

// Demands reports whether the error is -32021 and asks for the extension.
func (e *Error) Demands(extension string) bool {
	return e.code == wire.CodeMissingCapability && question.Declares(e.datum("requiredCapabilities"), "extensions", extension)
}

// capability is -32021 for a modern client; a legacy one gets a text.
func (e *Error) capability(c Case) (call.Reply, error) {
	required := e.datum("requiredCapabilities")
	fields, err := wire.Fields(nil, required)
	if err != nil {
		return call.Reply{Error: e.internal()}, nil //nolint:nilerr // it does not say which: that is all that can be told
	}
	f := fault.New(fault.MissingCapability, ReasonCapability, e.Message())
	var names []string
	for i := range fields {
		name := string(fields[i].Name)
		f = f.At(name, string(fields[i].Of(required)))
		names = append(names, name)
	}
	if c.Client.Era() == wire.Modern {
		return call.Reply{}, f
	}
	return Refuse(c.Method, ReasonCapability,
		"The server needs a client capability that is not there: "+strings.Join(names, ", ")+".")
}

// Refuse ends a request: with a result that says isError where it is the call of a tool, which the model should read, and
// else with -32603 (M-46).
func Refuse(method, reason, text string) (call.Reply, error) {
	if method == "tools/call" {
		return call.Reply{}, fault.New(fault.Precondition, reason, text) // dispatch writes the result
	}
	return call.Reply{Error: wire.AppendErrorObject(nil, wire.CodeInternal, text, nil)}, nil
}

// Pages returns the elicitations of -32042.
func (e *Error) Pages() []question.Question {
	list := e.datum("elicitations")
	if len(list) == 0 || list[0] != '[' {
		return nil
	}
	spans, err := wire.Elements(nil, list)
	if err != nil {
		return nil
	}
	var pages []question.Question
	for _, s := range spans {
		q := question.Question{Method: question.Elicit, Params: bytes.Clone(s.Of(list))}
		if _, url := q.Link(); q.IsURL() && url != "" {
			pages = append(pages, q)
		}
	}
	return pages
}

// Links is the text that stands for pages that the client cannot show.
func Links(pages []question.Question) string {
	var b strings.Builder
	for i, q := range pages {
		message, url := q.Link()
		if i > 0 {
			b.WriteByte('\n')
		}
		if message != "" {
			b.WriteString(message)
			b.WriteString(": ")
		}
		b.WriteString(url)
	}
	return b.String()
}
