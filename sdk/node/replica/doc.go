// SPDX-License-Identifier: Apache-2.0

// Package replica keeps a node's copy of its scope: encoded resources, bodies by hash, the cursor and the digest.
//
// It owns the reading of stream messages without decoding the resources in them, the rules of D-22 and D-23 (absence
// deletes nothing, a delta must continue the cursor) and the verification of every digest before anything changes
// (D-36). It is called by sdk/node, which owns the stream. It must never know of connections, disks or what a resource
// means.
package replica
