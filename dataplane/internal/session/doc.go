// SPDX-License-Identifier: Apache-2.0

// Package session owns legacy MCP sessions (≤ 2025-11-25): the sealed Mcp-Session-Id that any node opens without a
// table (M-34, M-86), and what a node knows about a session while it is used: its calls in flight, its GET stream,
// whether it has ended.
//
// A record here is a cache, never the truth: it is made when a node first sees a token and dropped when the session is
// idle (M-88), and the session goes on with the next request, here or elsewhere. Only a tombstone in the [Store] or the
// age of the token ends one. What nodes must share goes through the Store; what belongs to a connection stays on the
// node that has it.
//
// In a [Fleet] a session is on all nodes: its record (record.go) is in the Store, changes come over one channel (fleet.go), the
// newest GET stream wins (lease.go), and what streams have sent can be had elsewhere (mirror.go). While the channel stands a
// request costs nothing there. All that leaves the node is sealed. Why it is so: dataplane/docs/adr/0006.
//
// edge uses it. It must never know HTTP, JSON-RPC messages, upstreams or who may use a gateway, and a session never
// authenticates anybody: every request carries its own token (RS-11).
package session
