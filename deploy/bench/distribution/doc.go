// SPDX-License-Identifier: Apache-2.0

// Command distribution measures how a change of the configuration reaches a fleet of nodes, and what the fleet costs its
// control plane (goals of distribution.md section 12, column D). `go run ./deploy/bench/distribution -help` lists its flags.
//
// PostgreSQL, the control plane and nodesim are processes of their own on this machine; each simulated node has its own
// connection with mutual TLS and the real stream client. Some of the nodes are whole and compile; the others share the
// memory of what they hold, and each checks its own digest and its own bodies. The configuration is made through the admin
// API, with a real node to discover the tools. When a change was committed is what PostgreSQL notes of its transaction
// (track_commit_timestamp), when a node enforced it is what nodesim notes, by the same clock. Bytes are those on the nodes'
// connections, TLS and acknowledged heartbeats included.
//
// A run in which the nodes do not end with equal digests, or one rejects something, is void.
package main
