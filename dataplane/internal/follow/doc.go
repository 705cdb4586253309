// SPDX-License-Identifier: Apache-2.0

// Package follow turns the resources of the node stream into the view that calls are decided by.
//
// It owns the compile step (only touched gateways are compiled, D-34) and the rule what happens to a resource that does
// not compile (D-35). The stream itself, its cursor and the copy on disk are sdk/node's. It is called by sdk/node
// through [Compiler.Apply] and [Compiler.Deny] and publishes to a view.Holder. It must never know of requests.
package follow
