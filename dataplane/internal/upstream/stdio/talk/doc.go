// SPDX-License-Identifier: Apache-2.0

// Package talk is one running server and the conversation with it, over its standard input and output.
//
// It owns the process from its start to its end, the finding out of its era (mcp.md M-2), request ids and progress tokens of
// its own, the messages that come for a request, in order, the questions of the server with their answers (M-77), the log
// level (M-52), and cancellation (M-51).
//
// A request runs on the caller's goroutine, and so does everything it relays. The reader of a process never waits for a
// caller: each has a bounded queue. What belongs to no request goes to the Owner.
//
// Called by stdio, which decides who shares a process, and when one starts and ends. It must never know principals, sessions
// of clients, or pauses between starts.
package talk
