// SPDX-License-Identifier: Apache-2.0

// Package passed picks the headers of a client's request that its gateway hands to servers (gateway.md G-40): those on the
// list, in any letter case, several values as one. What nobody may hand on is left out whatever the list says: fields that
// the client's connection owns, and values that hold a token of Penstock (auth.md RS-13).
//
// Called by edge. It must never know gateways, principals or who gets the headers.
package passed

import (
	"net/http"
	"regexp"
	"strings"
)

// tokenRE finds secrets of the form that Penstock gives them (auth.md ST-1), wherever they stand.
var tokenRE = regexp.MustCompile(`ps[a-z]_(?:[a-z]_)?[0-9A-Za-z]{49}`)

// Of returns the headers of h that are on the list, in canonical form; nil if there are none. The list is in canonical form.
// What it returns may share memory with h, and is not to be changed.
func Of(h http.Header, list []string) http.Header {
	var out http.Header
	for _, name := range list {
		values := h[name]
		if len(values) == 0 || isOfConnection(h, name) || holdsToken(h, values) {
			continue
		}
		if out == nil {
			out = make(http.Header, len(list))
		}
		if len(values) > 1 {
			values = []string{strings.Join(values, ", ")} // RFC 9110, section 5.3
		}
		out[name] = values
	}
	return out
}

// isOfConnection reports whether the client says that a field is for the next hop only (RFC 9110, section 7.6.1).
func isOfConnection(h http.Header, name string) bool {
	for _, value := range h["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(option), name) {
				return true
			}
		}
	}
	return false
}

// holdsToken reports whether a value holds what the client authenticates with, or any other secret of Penstock's.
func holdsToken(h http.Header, values []string) bool {
	for _, value := range values {
		if strings.Contains(value, "ps") && tokenRE.MatchString(value) {
			return true
		}
		for _, authorization := range h["Authorization"] {
			_, token, _ := strings.Cut(authorization, " ")
			if token = strings.TrimSpace(token); token != "" && strings.Contains(value, token) {
				return true
			}
		}
	}
	return false
}
