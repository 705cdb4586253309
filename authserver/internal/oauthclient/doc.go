// SPDX-License-Identifier: Apache-2.0

// Package oauthclient is how Penstock talks to authorization servers of others as a client of theirs: it finds their metadata and
// those of protected resources (RFC 9728, RFC 8414), authenticates (RFC 6749 §2.3.1, RFC 7523 §2.2), and reads what token endpoints
// answer (RFC 6749 §5). Every request goes through the egress guard, with a time, and a bound on what comes back (auth.md UP-4,
// CIMD-5).
//
// The rooms that get tokens from elsewhere call it. It must never keep a token, know whom one is for, or decide what an error of an
// authorization server means for a credential; and nothing of an answer but error codes gets into its errors.
package oauthclient
