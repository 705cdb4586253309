// SPDX-License-Identifier: Apache-2.0

// Package issuer keeps what a resource server needs of the authserver: its issuer identifier, its metadata and its public
// keys, in memory and as last known good on disk, so that tokens count while the authserver is down (auth.md RS-10, AS-22).
//
// authn asks it for keys, edge for documents; the root fills in where they come from. Reading is an atomic load; nothing
// is fetched on a call but for a key that nobody knows. It must never know tokens, gateways or callers.
package issuer
