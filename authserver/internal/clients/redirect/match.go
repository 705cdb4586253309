// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"slices"
	"strconv"
	"strings"
)

// Match reports whether the redirect URI of a request is one of the registered ones (AZ-2): the same bytes or, for a
// public client, a registered http URI on 127.0.0.1, [::1] or localhost that differs in its port alone. The answer goes
// to the requested URI then. Hosts are compared as text: localhost is not 127.0.0.1. The registered URIs have passed
// [Rules.Check].
func Match(registered []string, requested string, public bool) bool {
	if slices.Contains(registered, requested) {
		return true
	}
	if !public || len(requested) > MaxLength {
		return false
	}
	host, rest, ok := loopback(requested)
	return ok && slices.ContainsFunc(registered, func(uri string) bool {
		h, r, ok := loopback(uri)
		return ok && h == host && r == rest
	})
}

// loopback splits an http URI on loopback into its host and what comes after the port, byte for byte. It reads the text
// itself: a parser would forgive what a browser reads in another way.
func loopback(uri string) (host, rest string, ok bool) {
	after, ok := strings.CutPrefix(uri, "http://")
	if !ok || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' || c == '#' }) {
		return "", "", false
	}
	authority := after
	if end := strings.IndexAny(after, "/?"); end >= 0 {
		authority, rest = after[:end], after[end:]
	}
	for _, h := range []string{"127.0.0.1", "[::1]", "localhost"} {
		port, found := strings.CutPrefix(authority, h)
		if found && (port == "" || isPort(port)) {
			return h, rest, true
		}
	}
	return "", "", false
}

// isPort reports whether s is a colon and a number from 1 to 65535 in its one spelling.
func isPort(s string) bool {
	digits, ok := strings.CutPrefix(s, ":")
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == digits
}

// IsLoopback reports whether a redirect URI leads to the machine of the person, over http or https: nobody but that
// machine can be told a secret there (REG-5).
func IsLoopback(uri string) bool {
	_, after, _ := strings.Cut(uri, "://")
	authority := after
	if end := strings.IndexAny(after, "/?"); end >= 0 {
		authority = after[:end]
	}
	host := strings.ToLower(authority)
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		host = host[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	return host == "[::1]" || host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasPrefix(host, "127.")
}
