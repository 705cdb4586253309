// SPDX-License-Identifier: Apache-2.0

// Package exchange makes credentials for calls out of who the caller is at an identity provider: it has the caller's token
// exchanged for one that a server takes (RFC 8693, Entra ID on-behalf-of, or an identity assertion that is redeemed at the server's
// authorization server; auth.md JAU-1…JAU-8, UP-6, UP-7). It owns those tokens, in memory only, until shortly before they end.
//
// The root calls it for servers whose credential is token_exchange, and fills [Subjects] with the room that keeps what logins left. It
// must never know HTTP requests of callers, sessions or pages, never send a caller's token anywhere but to a token endpoint, never
// send an inbound identity assertion on (JAU-8), and never log a token or an answer.
package exchange
