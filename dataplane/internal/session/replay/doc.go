// SPDX-License-Identifier: Apache-2.0

// Package replay keeps what the streams of a legacy session have sent, so that a client which lost its connection can
// come back for the rest (mcp.md M-39 to M-41, M-90).
//
// A [Shelf] holds the streams of one session. Who writes a stream has its [Tape], which gives the events their ids and
// keeps them. A client that resumes either takes the tape over (the session's GET stream), or follows it while the call
// it belongs to goes on writing. Everything is bounded: 256 events or 1 MiB a stream, 8 MiB a session, 5 minutes.
//
// session holds a shelf for each session, edge writes and reads it. It must never know HTTP, methods or who is calling.
package replay
