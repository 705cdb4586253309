// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// Error is what a failed call returns. errors.As reaches the *connect.Error inside, too.
type Error struct {
	// Code is the Connect code, for example "not_found".
	Code string
	// Reason is a stable word for programs, for example "GATEWAY_NOT_FOUND". It is empty if the error did not come from
	// Penstock itself: no connection, a proxy, a message that could not be read.
	Reason string
	// Message is a sentence for people.
	Message string
	// Fields names the refused parts of the request; empty if it is not about those.
	Fields []Field
	// RetryAfter is how long the server asks to wait before the next attempt; 0 if it does not say.
	RetryAfter time.Duration
	// RequestID finds the call in the server's log; empty if there was no answer.
	RequestID string

	cause error
}

// Field is one refused part of a request.
type Field struct {
	Path    string // dotted, proto names, for example "gateway.tools[2].tool"
	Problem string // phrase that says what is wrong with it
}

// Error returns the message on one line, and the fields that it does not mention.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = e.Code
	}
	for _, f := range e.Fields {
		if !strings.Contains(text, f.Problem) {
			text += "; " + f.Path + ": " + f.Problem
		}
	}
	return text
}

// Unwrap returns the *connect.Error.
func (e *Error) Unwrap() error { return e.cause }

// AsError returns the [Error] inside err, if there is one.
func AsError(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// IsNotFound reports whether the resource does not exist, or may not be seen by the caller.
func IsNotFound(err error) bool { return is(err, connect.CodeNotFound) }

// IsAlreadyExists reports whether the name is taken.
func IsAlreadyExists(err error) bool { return is(err, connect.CodeAlreadyExists) }

// IsConflict reports whether the etag was stale or a race was lost: get the resource again, then write again.
func IsConflict(err error) bool { return is(err, connect.CodeAborted) }

// IsInvalid reports whether the request cannot be accepted as it is; [Error.Fields] says why.
func IsInvalid(err error) bool { return is(err, connect.CodeInvalidArgument) }

// IsPrecondition reports whether something else must change first: a resource is in use, disabled, or a credential is missing.
func IsPrecondition(err error) bool { return is(err, connect.CodeFailedPrecondition) }

// IsUnauthenticated reports whether the token is missing, wrong, expired or revoked.
func IsUnauthenticated(err error) bool { return is(err, connect.CodeUnauthenticated) }

// IsDenied reports whether the caller's role does not allow the call.
func IsDenied(err error) bool { return is(err, connect.CodePermissionDenied) }

// IsUnavailable reports whether the server could not be reached or cannot answer now.
func IsUnavailable(err error) bool { return is(err, connect.CodeUnavailable) }

// IsExhausted reports whether a limit is used up; [Error.RetryAfter] may say until when.
func IsExhausted(err error) bool { return is(err, connect.CodeResourceExhausted) }

func is(err error, code connect.Code) bool { return err != nil && connect.CodeOf(err) == code }

// wrapErrors turns Connect errors into this package's.
func wrapErrors() connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			res, err := next(ctx, req)
			if err != nil {
				return nil, newError(err)
			}
			return res, nil
		}
	}
}

func newError(err error) *Error {
	e := &Error{Code: connect.CodeOf(err).String(), Message: err.Error(), cause: err}
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return e
	}
	e.Message = ce.Message()
	for _, d := range ce.Details() {
		v, err := d.Value()
		if err != nil {
			continue // a detail of a type that this version does not know
		}
		switch v := v.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = v.GetReason()
		case *errdetails.RequestInfo:
			e.RequestID = v.GetRequestId()
		case *errdetails.RetryInfo:
			e.RetryAfter = v.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, f := range v.GetFieldViolations() {
				e.Fields = append(e.Fields, Field{Path: f.GetField(), Problem: f.GetDescription()})
			}
		}
	}
	return e
}
