// SPDX-License-Identifier: Apache-2.0

// Package dispatch is the call pipeline of a node: it finds the tool in the caller's snapshot, gets the credential, asks
// the upstream and turns the answer into the client's form. It is the only room that sequences others, and it reaches
// them through interfaces that it declares and the root fills.
//
// It is called by edge. It must never know of HTTP, of sessions or of how upstreams are spoken to; on its path there is
// no SQL, no Redis and no typed decode of arguments, schemas or results.
package dispatch
