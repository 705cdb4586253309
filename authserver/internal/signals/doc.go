// SPDX-License-Identifier: Apache-2.0

// Package signals takes the security events of identity providers (OpenID Shared Signals Framework 1.0 with CAEP and RISC): pushed
// (RFC 8935) or polled (RFC 8936), and does what they ask for (auth.md SF-1).
//
// It owns security event tokens: which are a provider's, whom they are about, and that each is acted upon once, on however many
// authservers. The router and the composition root call it. It must never know how logins and grants end or how users are
// stored, and it acts on nothing that it has not verified.
package signals
