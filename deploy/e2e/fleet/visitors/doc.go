// SPDX-License-Identifier: Apache-2.0

// Package visitors is many MCP clients at a gateway: half of them in sessions (2025-11-25) with a GET stream that they resume,
// half of them stateless (2026-07-28) with a subscription. Each keeps its connections, calls at its pace with a token that no
// other call has, and comes back as a client does when a connection breaks. A call that may run only once is never repeated.
//
// The fleet's end-to-end test uses it. It must never know how many nodes there are or what was done to them.
package visitors
