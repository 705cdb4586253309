// SPDX-License-Identifier: Apache-2.0

// Package node is the client of the node stream (penstock.distribution.v1): it loads the last known good state from disk,
// follows a control plane for ever, and hands every state to an [Applier] that enforces it.
//
// It owns the cursor, the digest, the reconnects, the acknowledgements and the copy on disk. It is called by whoever
// follows a control plane: the data plane, the authserver, a simulated node. The received state itself is kept by
// sdk/node/replica, the files by sdk/node/lastgood. It must never know what a resource means: that is the Applier's.
package node
