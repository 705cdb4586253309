// SPDX-License-Identifier: Apache-2.0

// Package problem renders the answers that are given before a request's body is read, in the form that OAuth endpoints
// use too: a JSON body with error and error_description, and the Bearer challenge (auth.md §9, RFC 6750 §3).
//
// edge and rpcerror use it. It must never decide anything.
package problem

import (
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Append appends the JSON body. The member reason is left out when empty.
func Append(dst []byte, code, description, reason string) []byte {
	dst = wire.AppendString(append(dst, `{"error":`...), code)
	dst = wire.AppendString(append(dst, `,"error_description":`...), description)
	if reason != "" {
		dst = wire.AppendString(append(dst, `,"reason":`...), reason)
	}
	return append(dst, '}')
}

// Challenge returns a WWW-Authenticate value; without an error code it is the bare scheme. The description may be any
// text: it cannot leave its quotes (RS-8).
func Challenge(code, description string) string {
	if code == "" {
		return "Bearer"
	}
	return `Bearer error="` + code + `", error_description="` + quotable(description) + `"`
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
