// SPDX-License-Identifier: Apache-2.0

// Package unheard keeps, for a moment, what upstreams say to clients' sessions that nobody listens to: a client that has just
// opened its stream, or is on its way from one node to another, gets it late, and not never (mcp.md M-91).
//
// Called by upstream. It must never know what the messages are.
package unheard
