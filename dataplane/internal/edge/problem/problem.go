// SPDX-License-Identifier: Apache-2.0

// Package problem renders the answers that are given before a request's body is read, in the form that OAuth endpoints
// use too: a JSON body with error and error_description, and the Bearer challenge (auth.md §9, RFC 6750 §3).
//
// edge and rpcerror use it. It must never know a request.
package problem

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of authn that are answered each in a way of its own.
const (
	reasonTokenMissing = "TOKEN_MISSING"
	reasonNotReady     = "GATEWAY_NOT_READY"
)

// Terms are what the challenges of a gateway hold besides errors (RFC 9728 §5.1, RFC 6750 §3).
type Terms struct {
	Metadata string // URL of the protected resource metadata; empty if the gateway has none (RS-1)
	Scope    string // that a client without a token asks for; empty without Metadata
	Compat   bool   // an error in each challenge, for clients that want one (RS-3)
}

// RetryLater is what clients are asked to wait when nobody can say how long it will take.
const RetryLater = 5 * time.Second

// Refusal is what a request gets that authn refused. Challenge and Reason may be empty, Retry zero.
type Refusal struct {
	Status                    int
	Code, Description, Reason string
	Challenge                 string // WWW-Authenticate
	Retry                     time.Duration
}

// Refused is the answer to a fault of authn (auth.md §9). known is false for a fault that authn should not have made: the
// answer then tells nothing.
func Refused(f *fault.Fault, t Terms) (r Refusal, known bool) {
	switch f.Kind {
	case fault.Unauthenticated:
		return unauthorized(f, t), true
	case fault.Invalid:
		const code = "invalid_request"
		return Refusal{Status: http.StatusBadRequest, Code: code, Description: f.Public, Challenge: Challenge{Code: code, Description: f.Public}.String()}, true
	case fault.Denied:
		// RS-6: no error in the challenge, which clients would take for a reason to log in again.
		return Refusal{
			Status: http.StatusForbidden, Code: "gateway_access_denied", Description: f.Public, Challenge: Challenge{}.String(),
		}, true
	case fault.Exhausted:
		return Refusal{
			Status: http.StatusTooManyRequests, Code: "too_many_requests", Description: f.Public, Reason: f.Reason,
			Retry: cmp.Or(f.Retry, time.Second),
		}, true
	case fault.Unavailable, fault.Timeout:
		return Refusal{
			Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: f.Public, Reason: f.Reason,
			Retry: cmp.Or(f.Retry, RetryLater),
		}, true
	default:
		return Refusal{
			Status: http.StatusInternalServerError, Code: "server_error", Description: "An internal error occurred.",
		}, false
	}
}

// unauthorized is RS-3 and RS-4.
func unauthorized(f *fault.Fault, t Terms) Refusal {
	r := Refusal{Status: http.StatusUnauthorized, Code: "invalid_token", Description: f.Public}
	challenge := Challenge{Metadata: t.Metadata, Scope: t.Scope}
	missing := f.Reason == reasonTokenMissing
	if missing {
		r.Code, r.Description = "unauthorized", "Authentication required"
	}
	switch {
	case f.Reason == reasonNotReady:
		// No way to authenticate at all: a challenge would send the client looking for one (G-3).
		r.Code, r.Reason, challenge = "unauthorized", "gateway_not_ready", Challenge{}
	case missing && !t.Compat:
	default:
		challenge.Code, challenge.Description = "invalid_token", r.Description
	}
	r.Challenge = challenge.String()
	return r
}

// Append appends the JSON body. The member reason is left out when empty.
func Append(dst []byte, code, description, reason string) []byte {
	dst = wire.AppendString(append(dst, `{"error":`...), code)
	dst = wire.AppendString(append(dst, `,"error_description":`...), description)
	if reason != "" {
		dst = wire.AppendString(append(dst, `,"reason":`...), reason)
	}
	return append(dst, '}')
}

// Challenge is a WWW-Authenticate value of the scheme Bearer. What is empty is left out.
type Challenge struct {
	Metadata    string // resource_metadata, a URL
	Scope       string // scopes with blanks between them
	Code        string // error
	Description string // error_description; any text
}

// String returns the value, every parameter quoted. No text can leave its quotes or the line (RS-8).
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString("Bearer")
	separator := " "
	for _, p := range [...]struct{ name, value string }{
		{"resource_metadata", c.Metadata}, {"scope", c.Scope}, {"error", c.Code}, {"error_description", c.Description},
	} {
		if p.value == "" {
			continue
		}
		b.WriteString(separator + p.name + `="` + quotable(p.value) + `"`)
		separator = ", "
	}
	return b.String()
}

// quotable keeps of a text what RFC 6750 §3 allows inside error_description.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return ' '
		}
		return r
	}, s)
}

// Seconds returns a Retry-After value: whole seconds, at least one.
func Seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}
