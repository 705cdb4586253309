// SPDX-License-Identifier: Apache-2.0

// Package home knows which node has the processes and the stateful sessions of a connection and a principal (mcp.md M-94): the
// first that needed them, for as long as it renews its lease. The others lead calls there.
//
// A [Table] answers from memory; a [Store] (memstate, redisstate) is asked once for what is new, and in the background after
// that. dispatch asks it, by an interface of its own; the root makes it. It must never know servers, calls or how a request
// gets to another node.
package home
