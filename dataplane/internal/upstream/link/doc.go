// SPDX-License-Identifier: Apache-2.0

// Package link speaks with one upstream: requests and what comes before their
// responses, legacy sessions with the streams they have for messages outside of
// calls, and the answers to what the upstream asks, over Streamable HTTP and
// HTTP+SSE alike (mcp.md M-12, M-45, M-49, M-51, M-91).
//
// A call without a session of its own, and without client capabilities, runs on
// the caller's goroutine alone. A listening one hears the session's stream too,
// which another goroutine reads: what reaches its sink is given by one goroutine
// at a time, and never after the call.
//
// Called by upstream, which decides who uses which session, what is sent again,
// and which version is spoken, and by upstream/watch. It must never know
// principals or the view.
package link
