// SPDX-License-Identifier: Apache-2.0

// Package question knows what upstreams may ask of clients: elicitation, sampling and roots, which client can answer
// which, how a question looks to a client of the other era, what an answer looks like, and what an upstream is told when
// nobody answers (mcp.md section 4, M-30, M-81, M-84).
//
// bridge and its rooms use it. It must never know calls, sessions or who is asked.
package question

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// The questions that bridge knows.
const (
	Elicit = "elicitation/create"
	Sample = "sampling/createMessage"
	Roots  = "roots/list"
)

// Known reports whether method is one of the three questions.
func Known(method string) bool { return method == Elicit || method == Sample || method == Roots }

// Question is one question.
type Question struct {
	Method string
	Params []byte // raw object, nil if absent
}

// IsURL reports whether the question sends the person to a page.
func (q Question) IsURL() bool {
	return q.Method == Elicit && wire.EqualString(wire.Get(q.Params, "mode"), "url")
}

// Link returns the text and the page of an elicitation in url mode.
func (q Question) Link() (message, url string) {
	message, _ = wire.DecodeString(wire.Get(q.Params, "message"))
	url, _ = wire.DecodeString(wire.Get(q.Params, "url"))
	return message, url
}

// Declares reports whether the raw ClientCapabilities object declares what the path leads to.
func Declares(capabilities []byte, path ...string) bool {
	return wire.IsObject(wire.Get(capabilities, path...))
}

// CanAsk reports whether a client with these capabilities can be asked anything.
func CanAsk(capabilities []byte) bool {
	return len(capabilities) > 0 && (Declares(capabilities, "elicitation") || Declares(capabilities, "sampling") ||
		Declares(capabilities, "roots"))
}

// KnowsURL reports whether a client of version v can be sent to a page: that came with 2025-11-25.
func KnowsURL(capabilities []byte, v wire.Version) bool {
	return v.AtLeast(wire.V20251125) && Declares(capabilities, "elicitation", "url")
}

// AnswerableBy reports whether a client that was offered with these capabilities can answer the question (M-30).
func (q Question) AnswerableBy(capabilities []byte) bool {
	switch q.Method {
	case Roots:
		return Declares(capabilities, "roots")
	case Sample:
		return Declares(capabilities, "sampling")
	case Elicit:
		if q.IsURL() {
			return Declares(capabilities, "elicitation", "url")
		}
		// An elicitation capability that names no mode means forms.
		return Declares(capabilities, "elicitation", "form") ||
			Declares(capabilities, "elicitation") && !Declares(capabilities, "elicitation", "url")
	}
	return false
}

// ForModern returns the question of a legacy upstream as a modern client gets it: without elicitationId, which its
// version does not know, and without an includeContext that it did not offer.
func (q Question) ForModern(capabilities []byte) Question {
	switch q.Method {
	case Elicit:
		q.Params = without(q.Params, "elicitationId")
	case Sample:
		if context := wire.Get(q.Params, "includeContext"); context != nil && !wire.EqualString(context, "none") &&
			!Declares(capabilities, "sampling", "context") {
			q.Params = without(q.Params, "includeContext")
		}
	}
	return q
}

// ForLegacy returns the question of a modern upstream as a legacy client gets it: a page has an id, of which no upstream
// will ever speak again.
func (q Question) ForLegacy() Question {
	if !q.IsURL() || wire.Get(q.Params, "elicitationId") != nil {
		return q
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails: it ends the process instead
	var e wire.Edits
	e.Insert(wire.Span{Start: 0, End: len(q.Params)}, "elicitationId", wire.Quote(hex.EncodeToString(id[:])))
	q.Params = e.AppendTo(nil, q.Params)
	return q
}

// Append appends the question as a member of inputRequests.
func (q Question) Append(dst []byte, key string) []byte {
	dst = append(wire.AppendString(dst, key), `:{"method":`...)
	dst = wire.AppendString(dst, q.Method)
	if q.Params != nil {
		dst = append(append(dst, `,"params":`...), q.Params...)
	}
	return append(dst, '}')
}

// IsAnswer reports whether raw has the form of the result of the question.
func (q Question) IsAnswer(raw []byte) bool {
	switch q.Method {
	case Elicit:
		action := wire.Get(raw, "action")
		return wire.EqualString(action, "accept") || wire.EqualString(action, "decline") || wire.EqualString(action, "cancel")
	case Sample:
		content := wire.Get(raw, "content")
		return wire.IsString(wire.Get(raw, "role")) && wire.IsString(wire.Get(raw, "model")) &&
			len(content) > 0 && (content[0] == '{' || content[0] == '[')
	case Roots:
		roots := wire.Get(raw, "roots")
		return len(roots) > 0 && roots[0] == '['
	}
	return false
}

// Accepts reports whether an answer to an elicitation agrees.
func Accepts(raw []byte) bool { return wire.EqualString(wire.Get(raw, "action"), "accept") }

// Cancelled is the answer to an elicitation that nobody looked at.
func Cancelled() []byte { return []byte(`{"action":"cancel"}`) }

// codeRejected is what clients answer when the person refuses sampling.
const codeRejected = -1

// Unanswered is what a legacy upstream is told when a question has no answer (M-81).
func (q Question) Unanswered() call.Answer {
	switch q.Method {
	case Elicit:
		return call.Answer{Result: Cancelled()}
	case Sample:
		return call.Answer{Error: wire.AppendErrorObject(nil, codeRejected, "The client did not answer", nil)}
	}
	return call.Answer{Error: wire.AppendErrorObject(nil, wire.CodeInternal, "The client did not answer", nil)}
}

// NotFound is the answer to a question that the client cannot be asked.
func NotFound() call.Answer {
	return call.Answer{Error: wire.AppendErrorObject(nil, wire.CodeMethodNotFound, "Method not found", nil)}
}

// Parse reads inputRequests, a raw object of questions by key, in its order. ok is false if it has another form.
func Parse(raw []byte) (keys []string, questions []Question, ok bool) {
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return nil, nil, false
	}
	for i := range fields {
		entry := fields[i].Of(raw)
		members, err := wire.Fields(nil, entry)
		if err != nil {
			return nil, nil, false
		}
		method, isText := wire.DecodeString(wire.Lookup(members, "method").Of(entry))
		params := wire.Lookup(members, "params").Of(entry)
		if !isText || params != nil && !wire.IsObject(params) {
			return nil, nil, false
		}
		keys = append(keys, string(fields[i].Name))
		questions = append(questions, Question{Method: method, Params: params})
	}
	return keys, questions, true
}

func without(raw []byte, name string) []byte {
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return raw
	}
	var e wire.Edits
	e.Delete(wire.Lookup(fields, name))
	if e.Len() == 0 {
		return raw
	}
	return e.AppendTo(nil, raw)
}
