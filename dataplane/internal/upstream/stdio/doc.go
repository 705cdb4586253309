// SPDX-License-Identifier: Apache-2.0

// Package stdio is the MCP client for servers that a node starts itself and talks to over standard input and output (M-94).
//
// It owns the processes: one for each connection, credential and principal (one for all principals where the server is
// stateless), their start without a shell and with exactly the environment of the settings, their number, their end when
// idle, denied or hung, and the pauses between starts of one that keeps failing. On each process it owns the legacy
// protocol: initialize, request ids and progress tokens of its own, messages relayed raw and in order, cancellation.
//
// A call runs on the caller's goroutine, and so does everything it relays. The reader of a process never waits for a
// caller: each call has a bounded queue. A request that reached a process which then died may have run, and is not sent
// again unless that does no harm (G-53).
//
// The types of requests and answers, and the reasons of faults, are those of package upstream. dispatch and discover
// call it through the root. It must never know gateways, policies, or where a credential comes from.
package stdio
