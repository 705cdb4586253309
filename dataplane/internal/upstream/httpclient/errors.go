// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"context"
	"errors"
	"os"
)

// Sentinels inside an [Error].
var (
	// ErrProtocol: the answer is no HTTP/1.1 that this client accepts.
	ErrProtocol = errors.New("not a valid HTTP/1.1 answer")
	// ErrTruncated: the connection ended before the answer did.
	ErrTruncated = errors.New("the answer was cut off")
	// ErrTooLarge: the head or the body is larger than its limit.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the client is closed")
)

// Error is why an exchange failed. A cancelled context is found with errors.Is
// as context.Canceled or context.DeadlineExceeded.
type Error struct {
	// Op is "request", "wait", "dial", "write", "head" or "body".
	Op string
	// Sent says that bytes of the request were written: the server may have
	// acted on it.
	Sent bool
	// Err is the cause.
	Err error
}

// Error returns the operation and the cause.
func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a deadline ended the exchange.
func (e *Error) Timeout() bool {
	return errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded)
}

// Sent reports whether err is from an exchange whose request may have reached
// the server.
func Sent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Sent
}
