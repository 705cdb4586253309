// SPDX-License-Identifier: Apache-2.0

// Package tokens is the token endpoint (auth.md §5, RFC 6749 §3.2), and the one place where access tokens are made.
//
// A request is parsed strictly, the client is authenticated, the grant type is dispatched, grants decides, and what it gives
// is signed. fosite does the dispatch, behind an interface of this package (docs/adr/0001-fosite.md).
//
// The root mounts it. It must never know how a client or a person proves who they are, nor what the store looks like.
package tokens
