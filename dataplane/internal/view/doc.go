// SPDX-License-Identifier: Apache-2.0

// Package view is the immutable, compiled configuration that a node decides calls by, the deny overlay that is read
// together with it, the access tokens that were revoked, and the atomic pointer all of it hangs on.
//
// follow builds a [View] from the node stream and publishes it through a [Holder]; edge, authn and dispatch load one
// [Snapshot] per request and decide everything from it. It is a leaf: it must never know of the stream, of HTTP, of
// protobuf messages or of upstreams.
package view
