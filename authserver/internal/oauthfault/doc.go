// SPDX-License-Identifier: Apache-2.0

// Package oauthfault is the errors of OAuth endpoints as values, and their one writer (RFC 6749 §5.2, auth.md §5).
//
// Every room that answers an OAuth request makes them. It must never know how a request is checked.
package oauthfault
