// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"net/http"
	"strconv"
)

// Kind says what sort of error a [Fault] is, and with that how each edge
// answers it. The zero value is Bug: an error that nobody classified.
type Kind uint8

// The kinds. Each edge maps every one of them; nothing else is ever sent.
const (
	// Bug is an error that should not happen; callers get a generic text.
	Bug Kind = iota
	// Invalid is an input that cannot be accepted as it is.
	Invalid
	// NotFound is a thing that does not exist, or that the caller may not see.
	NotFound
	// AlreadyExists is a name that is taken.
	AlreadyExists
	// Conflict is a stale etag or a lost race: read again, then write again.
	Conflict
	// Precondition is a state that must be changed first: disabled, in use,
	// credential missing, port in use.
	Precondition
	// Unauthenticated is a missing or unacceptable credential of the caller.
	Unauthenticated
	// Denied is a known caller who may not do this.
	Denied
	// Exhausted is a limit that is used up; Retry says until when.
	Exhausted
	// Unavailable is an upstream, store or peer that cannot be reached.
	Unavailable
	// Timeout is an operation that took longer than it was given.
	Timeout
	// Canceled is an operation whose caller went away.
	Canceled
	// Stale is an unknown epoch or revision; the node resyncs.
	Stale
	// HeaderMismatch is an MCP header that contradicts the body (-32020).
	HeaderMismatch
	// MissingCapability is an MCP capability the client did not declare (-32021).
	MissingCapability
	// Version is an MCP protocol version that is not supported (-32022).
	Version
)

// clientClosedRequest is the status of a call whose client went away. It is
// not in net/http because no RFC defines it; Connect and reverse proxies use
// it.
const clientClosedRequest = 499

// mapping is one row of the table of style: name, Connect code and its name,
// HTTP status.
type mapping struct {
	name        string
	code        uint32
	connectName string
	status      int
}

// row returns the mapping of k. The last three kinds answer an MCP client
// only; should one reach another edge it is an invalid argument there.
func (k Kind) row() mapping {
	switch k {
	case Invalid:
		return mapping{"invalid", 3, "invalid_argument", http.StatusBadRequest}
	case NotFound:
		return mapping{"not_found", 5, "not_found", http.StatusNotFound}
	case AlreadyExists:
		return mapping{"already_exists", 6, "already_exists", http.StatusConflict}
	case Conflict:
		return mapping{"conflict", 10, "aborted", http.StatusConflict}
	case Precondition:
		return mapping{"precondition", 9, "failed_precondition", http.StatusBadRequest}
	case Unauthenticated:
		return mapping{"unauthenticated", 16, "unauthenticated", http.StatusUnauthorized}
	case Denied:
		return mapping{"denied", 7, "permission_denied", http.StatusForbidden}
	case Exhausted:
		return mapping{"exhausted", 8, "resource_exhausted", http.StatusTooManyRequests}
	case Unavailable:
		return mapping{"unavailable", 14, "unavailable", http.StatusServiceUnavailable}
	case Timeout:
		return mapping{"timeout", 4, "deadline_exceeded", http.StatusGatewayTimeout}
	case Canceled:
		return mapping{"canceled", 1, "canceled", clientClosedRequest}
	case Stale:
		return mapping{"stale", 11, "out_of_range", http.StatusBadRequest}
	case HeaderMismatch:
		return mapping{"header_mismatch", 3, "invalid_argument", http.StatusBadRequest}
	case MissingCapability:
		return mapping{"missing_capability", 3, "invalid_argument", http.StatusBadRequest}
	case Version:
		return mapping{"version", 3, "invalid_argument", http.StatusBadRequest}
	case Bug:
		return mapping{"bug", 13, "internal", http.StatusInternalServerError}
	default:
		return mapping{"kind(" + strconv.Itoa(int(k)) + ")", 13, "internal", http.StatusInternalServerError}
	}
}

// String returns the kind in lower snake case, for example "not_found". It is
// the value of the error.type attribute.
func (k Kind) String() string { return k.row().name }

// ConnectCode returns the number of the Connect code of k, which is also the
// gRPC code: 1 (canceled) to 16 (unauthenticated).
func (k Kind) ConnectCode() uint32 { return k.row().code }

// ConnectName returns the name of the Connect code of k, for example
// "invalid_argument".
func (k Kind) ConnectName() string { return k.row().connectName }

// HTTPStatus returns the HTTP status of k at the admin API. The MCP and OAuth
// edges have their own answers.
func (k Kind) HTTPStatus() int { return k.row().status }

// KindOfConnect returns the kind that a client reads out of a Connect or gRPC
// code: the inverse of [Kind.ConnectCode], where invalid_argument is Invalid.
// A code that Penstock does not send (unknown, unimplemented, data_loss, a
// number outside 1 to 16) is Bug.
func KindOfConnect(code uint32) Kind {
	for k := Bug; k <= Stale; k++ {
		if k.ConnectCode() == code {
			return k
		}
	}
	return Bug
}
