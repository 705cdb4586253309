// SPDX-License-Identifier: Apache-2.0

// Package egress owns the guard on outgoing connections to addresses that
// somebody else chose: upstream servers, JWKS and metadata documents. It
// resolves a name once, refuses special-use addresses, and dials the literal
// it checked, so that a name cannot change between check and use (auth design
// CIMD-5, RFC 6890).
//
// The data plane's upstream client and the authserver's fetchers call it. It
// must never know what is fetched, and connections between processes of
// Penstock do not go through it.
package egress
