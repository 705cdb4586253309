// SPDX-License-Identifier: Apache-2.0

package compile

import "strings"

// Authority returns what a resource's URI, or the template of one, is told apart by (M-66): its scheme with "://" and its
// authority, for example "file://" of "file:///etc/hosts" and "repo://octocat" of "repo://octocat/{name}", or its scheme
// with ":" where there is no authority, as in "urn:". Letters are lower-case. It returns false for what has no scheme,
// and for templates whose scheme or authority holds a variable: they may become anything.
func Authority(uri string) (string, bool) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || !isScheme(scheme) {
		return "", false
	}
	authority, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return strings.ToLower(scheme) + ":", true
	}
	if end := strings.IndexAny(authority, "/?#{"); end >= 0 {
		// A template's expansion may begin with one of the other three (RFC 6570).
		if authority[end] == '{' && (end+1 == len(authority) || !strings.ContainsRune("/?#", rune(authority[end+1]))) {
			return "", false
		}
		authority = authority[:end]
	}
	return strings.ToLower(scheme + "://" + authority), true
}

// isScheme reports whether s is a scheme by RFC 3986, section 3.1.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := 'a' <= c && c <= 'z'
		other := '0' <= s[i] && s[i] <= '9' || s[i] == '+' || s[i] == '-' || s[i] == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}
