// SPDX-License-Identifier: Apache-2.0

// Package sim runs many nodes in one process, each with its own TCP connection and certificate and the real stream client,
// to see what a control plane does under their load.
//
// It owns the fleet: the identities, the compilers (a stub, or the real one for a sample), the slow readers, the flaps,
// and the verdict at the end, which is that all nodes of a region at one revision have one digest. cmd/nodesim runs it.
// It must never be part of a node.
package sim
