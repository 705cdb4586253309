// SPDX-License-Identifier: Apache-2.0

// Package lastgood keeps the last known good state of a node on disk (D-60), so that a node starts without a control
// plane.
//
// It owns a folder with four kinds of files, all sealed with the node's key (XChaCha20-Poly1305), compressed (zstd) and
// readable by their owner alone:
//
//   - state.<epoch>.<revision>: length-prefixed resources, then their SHA-256. Written to a temporary file, fsync,
//     rename; the last two are kept.
//   - blobs.<n>: bodies by hash, appended in sealed chunks; written anew when more than half of it is dead.
//   - recent: what is newer than the states: when a control plane was last heard, and the denials that no written state
//     contains yet, so that a restart takes none of them back.
//   - revocations: the revoked tokens that have not expired. They belong to no state and to no epoch.
//
// Nothing in them is a secret of an upstream: those never travel here (D-84). A damaged, truncated or foreign file is
// skipped with a warning, never an error. It is called by sdk/node, by one goroutine. It must never know of streams or of
// what a resource means.
package lastgood
