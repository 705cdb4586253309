// SPDX-License-Identifier: Apache-2.0

// Package forward leads requests that only one node can answer to that node (mcp.md M-93): the answer to a question that it
// asked, a message for a stream that it has, the retry of a call that it holds, a call for a process that runs there.
//
// A [Registry] keeps the addresses of the region's nodes in memory, from what each leaves in a [Store] for 15 s. A [Client]
// sends the HTTP request as it came, with the principal that this node has verified and never with the client's token, over
// HTTP/2 and mutual TLS, and passes what comes back through unbuffered. A [Server] takes such requests from nodes of its own
// region and hands them on. A request goes one hop: what came from a node is not sent to another.
//
//   - node.go, registry.go: who is there.
//   - client.go, peer.go, relay.go: sending; server.go: receiving; carried.go: what goes along with a request.
//
// The root gives edge what it needs of this room, and Server the way into edge. It must never know MCP messages, sessions,
// gateways or how a principal proves itself.
package forward
