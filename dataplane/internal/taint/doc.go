// SPDX-License-Identifier: Apache-2.0

// Package taint knows which contexts are untrusted (G-33): those to which an untrusted result was delivered, and those of which nobody
// can tell.
//
// A [Tracker] says what context a call belongs to, notes marks and reads them; a [Store] (memstate, redisstate) keeps them for all
// nodes. A mark is in the store before the result that made it is delivered, and is read from there by the calls that a policy needs
// it for: there is no copy that could be old. dispatch asks, by an interface of its own; the root makes it. It must never know
// policies, servers or what a result says.
package taint
