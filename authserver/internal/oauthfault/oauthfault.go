// SPDX-License-Identifier: Apache-2.0

package oauthfault

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Code is an error code of OAuth.
type Code string

// The codes, with the document that defines them where it is not RFC 6749.
const (
	InvalidRequest          Code = "invalid_request"
	InvalidClient           Code = "invalid_client"
	InvalidGrant            Code = "invalid_grant"
	UnauthorizedClient      Code = "unauthorized_client"
	UnsupportedGrantType    Code = "unsupported_grant_type"
	UnsupportedResponseType Code = "unsupported_response_type"
	InvalidScope            Code = "invalid_scope"
	InvalidTarget           Code = "invalid_target" // RFC 8707
	AccessDenied            Code = "access_denied"
	ServerError             Code = "server_error"
	TemporarilyUnavailable  Code = "temporarily_unavailable"
	InvalidRedirectURI      Code = "invalid_redirect_uri"          // RFC 7591
	InvalidClientMetadata   Code = "invalid_client_metadata"       // RFC 7591
	UnapprovedSoftware      Code = "unapproved_software_statement" // RFC 7591
	InvalidToken            Code = "invalid_token"                 // RFC 6750
	LoginRequired           Code = "login_required"                // OpenID Connect Core 1.0
	ConsentRequired         Code = "consent_required"              // OpenID Connect Core 1.0
	RequestNotSupported     Code = "request_not_supported"         // OpenID Connect Core 1.0
	RequestURINotSupported  Code = "request_uri_not_supported"     // OpenID Connect Core 1.0
	SlowDown                Code = "too_many_requests"             // ours, with 429
)

// Error is an error of an OAuth endpoint. It is immutable. Description goes onto the wire: printable ASCII without quotes
// and backslashes (RFC 6749 §5.2), no secret, and it says what to do.
type Error struct {
	Code        Code
	Description string
	Status      int
	Retry       time.Duration // sent as Retry-After
	Basic       bool          // the client used HTTP Basic: the answer has a challenge (RFC 6749 §5.2)
	Reason      string        // what went wrong, in lower snake case, for audit events; never sent

	cause error
}

// New returns an error with the status that goes with its code: 400 but for invalid_client and invalid_token (401),
// access_denied (403), temporarily_unavailable (503), server_error (500) and too_many_requests (429).
func New(code Code, description string) *Error {
	return &Error{Code: code, Description: description, Status: status(code)}
}

func status(code Code) int {
	switch code {
	case InvalidClient, InvalidToken:
		return http.StatusUnauthorized
	case AccessDenied:
		return http.StatusForbidden
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	case ServerError:
		return http.StatusInternalServerError
	case SlowDown:
		return http.StatusTooManyRequests
	default:
		return http.StatusBadRequest
	}
}

// Because returns a copy with a cause, which is logged and never sent.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// For returns a copy with a reason, for example "code_expired". Many reasons share one code, so that a client learns no more
// than it needs (RL-5).
func (e *Error) For(reason string) *Error {
	c := *e
	c.Reason = reason
	return &c
}

// Error implements error.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Description
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// From returns the error as it is told to clients: itself, or what a fault of a store or a fetcher amounts to. Any other
// error is server_error with a text that tells nothing.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	switch f := fault.From(err); f.Kind {
	case fault.Unavailable, fault.Timeout:
		return New(TemporarilyUnavailable, "The authorization server cannot do this at the moment. Try again soon.").Because(err)
	case fault.Exhausted:
		e := New(SlowDown, "Too many requests. Wait and try again.").Because(err)
		e.Retry = f.Retry
		return e
	default:
		return New(ServerError, "An internal error occurred.").Because(err)
	}
}

// Write answers with the error as JSON (RFC 6749 §5.2).
func Write(w http.ResponseWriter, err error) {
	e := From(err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	if e.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.Retry+time.Second-1)/time.Second)))
	}
	if e.Basic && e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="penstock", charset="UTF-8"`)
	}
	w.WriteHeader(e.Status)
	body := struct {
		Error       Code   `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, e.Description}
	_ = json.NewEncoder(w).Encode(body) // the client has gone: nobody is left to tell
}
