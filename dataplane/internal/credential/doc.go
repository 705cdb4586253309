// SPDX-License-Identifier: Apache-2.0

// Package credential gets upstream credentials from the authserver and keeps them in memory for a short time (D-85).
//
// It owns the node's client of penstock.credential.v1 and its cache: one entry per connection, version and principal, never
// shared between principals (UP-9), kept until it expires (15 minutes at most), fetched once however many calls wait for
// it, and fetched anew before it expires while it is in use. A dropped entry is overwritten. What was handed out to a
// call is a copy, which goes with the call: Go cannot overwrite strings.
//
// Likewise it asks the authserver for the links under which people connect servers, once for calls that need one at the same
// time.
//
// dispatch resolves through it, and the root tells it about denials. It must never write a credential to disk or a log, and
// must never know what a tool or a gateway is.
package credential
