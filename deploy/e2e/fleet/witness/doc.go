// SPDX-License-Identifier: Apache-2.0

// Package witness is a real MCP server that remembers: which call ran how often, and which numbered notices it sent to whom.
// What a client was told can be checked against it. In one form it keeps sessions (2025-11-25, streams that can be resumed),
// in the other it keeps none (2026-07-28).
//
// The fleet's end-to-end test uses it, behind gateways. It must never know that there is a gateway.
package witness
