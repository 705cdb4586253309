// SPDX-License-Identifier: Apache-2.0

// Package sim runs many nodes in one process, each with its own TCP connection and certificate and the real stream client,
// to see what a control plane does under their load.
//
// It owns the fleet: the identities, the compilers (a stub, or the real one for a sample), the slow readers, the flaps,
// and the verdict at the end, which is that all nodes of a region at one revision have one digest. cmd/nodesim runs it.
//
// A node with the real compiler is all of a node. The others share what they hold, or a thousand of them would need a
// thousand times the memory: what one received, unpacked and checked is found by the next one by its SHA-256. Each still
// receives every byte on its own connection, and keeps its own cursor; a digest or a body that is not what the control
// plane said ends its stream as in a real node. A verdict therefore compares both kinds.
//
// It must never be part of a node.
package sim
