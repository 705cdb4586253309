// SPDX-License-Identifier: Apache-2.0

package rpcerror_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestFrom is M-46 and the MCP column of the table of errors: every kind, both eras.
func TestFrom(t *testing.T) {
	const (
		internal  = `-32603 "An internal error occurred."`
		supported = `{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"requested":"1"}`
		onlyNew   = `{"supported":["2026-07-28"],"requested":"2025-11-25"}`
	)
	of := func(k fault.Kind) *fault.Fault { return fault.New(k, "SOME_REASON", "text") }
	for _, tt := range []struct {
		name           string
		err            error
		modern, legacy string // status, code, message, data
	}{
		{"parse", fault.New(fault.Invalid, wire.ReasonParse, "text"), `400 -32700 "text"`, `400 -32700 "text"`},
		{"envelope", rpcerror.InvalidRequest("text"), `400 -32600 "text"`, `400 -32600 "text"`},
		{"params", rpcerror.InvalidParams("text"), `200 -32602 "text"`, `200 -32602 "text"`},
		{"params of an unknown era", rpcerror.AtEnvelope(rpcerror.InvalidParams("text")), `400 -32602 "text"`, `400 -32602 "text"`},
		{"other faults stay at the envelope", rpcerror.AtEnvelope(rpcerror.InvalidRequest("text")), `400 -32600 "text"`, `400 -32600 "text"`},
		{"_meta", rpcerror.MetaRequired("text"), `400 -32602 "text"`, `400 -32602 "text"`},
		{"header", rpcerror.HeaderMismatch("text"), `400 -32020 "text"`, `400 -32020 "text"`},
		{
			"version", rpcerror.BadVersion("1"),
			`400 -32022 "This protocol version is not supported." ` + supported, `400 -32022 "This protocol version is not supported." ` + supported,
		},
		{
			"version without a stateless form", rpcerror.BadVersion("2025-11-25"),
			`400 -32022 "This protocol version is not supported." ` + onlyNew, `400 -32022 "This protocol version is not supported." ` + onlyNew,
		},
		{
			"capability", of(fault.MissingCapability).At("elicitation", "x").At("sampling", "x"),
			`400 -32021 "text" {"requiredCapabilities":{"elicitation":{},"sampling":{}}}`, `200 -32603 "text"`,
		},
		{
			"capability with a value", of(fault.MissingCapability).At("elicitation", `{"form":{}}`).At("roots", `[]`),
			`400 -32021 "text" {"requiredCapabilities":{"elicitation":{"form":{}},"roots":{}}}`, `200 -32603 "text"`,
		},
		{
			"extension", rpcerror.MissingExtension("a/b"),
			`400 -32021 "The client did not declare the extension a/b." {"requiredCapabilities":{"extensions":{"a/b":{}}}}`,
			`200 -32603 "The client did not declare the extension a/b."`,
		},
		{"unknown method", rpcerror.MethodNotFound(), `404 -32601 "Method not found"`, `200 -32601 "Method not found"`},
		{"unknown tool", of(fault.NotFound), `200 -32602 "text"`, `200 -32602 "text"`},
		{"session", fault.New(fault.NotFound, session.ReasonNotFound, "text"), `404 -32600 "text"`, `404 -32600 "text"`},
		{"invalid", of(fault.Invalid), `200 -32602 "text"`, `200 -32602 "text"`},
		{"denied", of(fault.Denied), `403 40301 "text"`, `403 40301 "text"`},
		{"exhausted", of(fault.Exhausted), `429 42901 "text" retry 1s`, `429 42901 "text" retry 1s`},
		{"exhausted for long", of(fault.Exhausted).After(time.Minute), `429 42901 "text" retry 1m0s`, `429 42901 "text" retry 1m0s`},
		{"flood", rpcerror.Flood("text"), `429 42901 "text" retry 1s`, `429 42901 "text" retry 1s`},
		{"unavailable", of(fault.Unavailable), `200 50301 "text"`, `200 50301 "text"`},
		{"timeout", of(fault.Timeout), `200 50401 "text"`, `200 50401 "text"`},
		{"deadline", context.DeadlineExceeded, `200 50401 "The call took longer than it was given."`, `200 50401 "The call took longer than it was given."`},
		{"canceled", of(fault.Canceled), "silent", "silent"},
		{"context canceled", fmt.Errorf("call: %w", context.Canceled), "silent", "silent"},
		{"bug", of(fault.Bug), "200 " + internal + " bug", "200 " + internal + " bug"},
		{"unknown error", errors.New("secret"), "200 " + internal + " bug", "200 " + internal + " bug"},
		{"precondition", of(fault.Precondition), "200 " + internal + " bug", "200 " + internal + " bug"},
		{"already exists", of(fault.AlreadyExists), "200 " + internal + " bug", "200 " + internal + " bug"},
		{"conflict", of(fault.Conflict), "200 " + internal + " bug", "200 " + internal + " bug"},
		{"unauthenticated", of(fault.Unauthenticated), "200 " + internal + " bug", "200 " + internal + " bug"},
		{"stale", of(fault.Stale), "200 " + internal + " bug", "200 " + internal + " bug"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(rpcerror.From(tt.err, rpcerror.Asked{Era: wire.Modern})); got != tt.modern {
				t.Errorf("modern: %s, want %s", got, tt.modern)
			}
			if got := text(rpcerror.From(tt.err, rpcerror.Asked{Era: wire.Legacy})); got != tt.legacy {
				t.Errorf("legacy: %s, want %s", got, tt.legacy)
			}
		})
	}
}

// TestResources is M-46 and M-47 for requests about a resource: only what is not there is told in a way of its own.
func TestResources(t *testing.T) {
	for _, tt := range []struct {
		name           string
		err            error
		modern, legacy string
	}{
		{
			"not found", fault.New(fault.NotFound, "SOME_REASON", "text"),
			`200 -32602 "text" {"uri":"a\u002fb"}`, `200 -32002 "text" {"uri":"a\u002fb"}`,
		},
		{"method", rpcerror.MethodNotFound(), `404 -32601 "Method not found"`, `200 -32601 "Method not found"`},
		{"session", fault.New(fault.NotFound, session.ReasonNotFound, "text"), `404 -32600 "text"`, `404 -32600 "text"`},
		{"params", rpcerror.InvalidParams("text"), `200 -32602 "text"`, `200 -32602 "text"`},
		{"down", fault.New(fault.Unavailable, "SOME_REASON", "text"), `200 50301 "text"`, `200 50301 "text"`},
		{"slow", fault.New(fault.Timeout, "SOME_REASON", "text"), `200 50401 "text"`, `200 50401 "text"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uri := []byte(`"a\u002fb"`)
			if got := text(rpcerror.From(tt.err, rpcerror.Asked{Era: wire.Modern, URI: uri})); got != tt.modern {
				t.Errorf("modern: %s, want %s", got, tt.modern)
			}
			if got := text(rpcerror.From(tt.err, rpcerror.Asked{Era: wire.Legacy, URI: uri})); got != tt.legacy {
				t.Errorf("legacy: %s, want %s", got, tt.legacy)
			}
		})
	}
}

func TestRelayed(t *testing.T) {
	for code, want := range map[int64]int{-32601: 404, -32021: 400, -32020: 200, -32602: 200, -32603: 200, -32042: 200, 401: 200, 0: 200} {
		if got := rpcerror.Relayed(code, wire.Modern); got != want {
			t.Errorf("modern %d: %d, want %d", code, got, want)
		}
		if got := rpcerror.Relayed(code, wire.Legacy); got != 200 {
			t.Errorf("legacy %d: %d", code, got)
		}
	}
}

func text(e rpcerror.Error) string {
	if e.Silent {
		return "silent"
	}
	s := fmt.Sprintf("%d %d %q", e.Status, e.Code, e.Message)
	if e.Data != nil {
		s += " " + string(e.Data)
	}
	if e.Retry > 0 {
		s += " retry " + e.Retry.String()
	}
	if e.Bug {
		s += " bug"
	}
	return s
}

func TestScopeChallenge(t *testing.T) {
	e := rpcerror.From(fault.New(fault.Denied, "INSUFFICIENT_SCOPE", `needs "mcp:write"`+"\r\nX: y"), rpcerror.Asked{Era: wire.Modern})
	if want := `Bearer error="insufficient_scope", error_description="needs 'mcp:write'  X: y"`; e.Challenge != want {
		t.Errorf("challenge %s, want %s", e.Challenge, want)
	}
	if e := rpcerror.From(fault.New(fault.Denied, "OTHER", ""), rpcerror.Asked{Era: wire.Modern}); e.Challenge != "" {
		t.Errorf("challenge %s without a scope to ask for", e.Challenge)
	}
}

func TestAppend(t *testing.T) {
	e := rpcerror.From(errors.New("x"), rpcerror.Asked{Era: wire.Legacy})
	e.Number("r-1")
	const want = `{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"An internal error occurred.","data":{"request_id":"r-1"}}}`
	if got := string(e.Append(nil, []byte("7"))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestOwnCodes is M-48: a code is one that a specification defines, or lies outside what JSON-RPC reserves.
func TestOwnCodes(t *testing.T) {
	defined := []int{
		wire.CodeParse, wire.CodeInvalidRequest, wire.CodeMethodNotFound, wire.CodeInvalidParams, wire.CodeInternal,
		wire.CodeResourceNotFound, wire.CodeHeaderMismatch, wire.CodeMissingCapability, wire.CodeVersion,
	}
	seen := map[int]bool{}
	for kind := range fault.Kind(100) {
		for _, reason := range []string{"X", wire.ReasonParse, wire.ReasonRequest, wire.ReasonParams, session.ReasonNotFound, "METHOD_NOT_FOUND", "INSUFFICIENT_SCOPE"} {
			for _, era := range []wire.Era{wire.Unknown, wire.Legacy, wire.Modern} {
				for _, uri := range [][]byte{nil, []byte(`"a:b"`)} {
					e := rpcerror.From(fault.New(kind, reason, "text"), rpcerror.Asked{Era: era, URI: uri})
					if seen[e.Code] = true; e.Silent || slices.Contains(defined, e.Code) {
						continue
					}
					if e.Code >= -32768 && e.Code <= -32000 || e.Code == 0 {
						t.Errorf("kind %v, %s, %v: code %d", kind, reason, era, e.Code)
					}
				}
			}
		}
	}
	for _, own := range []int{rpcerror.CodeDenied, rpcerror.CodeFlooded, wire.CodeUnavailable, wire.CodeTimeout} {
		if !seen[own] {
			t.Errorf("the code %d was not made", own)
		}
	}
}
