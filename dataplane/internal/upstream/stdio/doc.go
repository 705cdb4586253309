// SPDX-License-Identifier: Apache-2.0

// Package stdio is the MCP client for servers that a node starts itself and talks to over standard input and output (M-94).
//
// It owns the processes: one for each connection, credential, principal and set of declared capabilities (one for all
// principals where the server is stateless), never one for each session of a client; their start without a shell and with
// exactly the environment of the settings, their number, their end when idle, denied or hung, and the pauses between starts
// of one that keeps failing. It also owns who hears what a process says outside of requests, and the subscriptions to
// resources, which sessions and watchers of one process share.
//
// Rooms of it own the rest: talk a running server and the conversation with it, child the process, lines the reading of its
// output, queue what waits for a slow taker.
//
// A call runs on the caller's goroutine, and so does everything it relays. The reader of a process never waits for a
// caller. A request that reached a process which then died may have run, and is not sent again unless that does no harm
// (G-53).
//
// The types of requests and answers, and the reasons of faults, are those of package upstream. bridge and discover call it
// through the root. It must never know gateways, policies, or where a credential comes from.
package stdio
