// SPDX-License-Identifier: Apache-2.0

// Package sse reads and writes server-sent events (WHATWG HTML §9.2), the
// stream form of MCP answers. Reader takes CR, LF and CRLF, several data lines,
// comments, a byte order mark, ids and retry, and bounds the size of an event
// (M-13); AppendEvent and its siblings write events without allocating.
//
// Called by edge (writing) and upstream (reading). It must never know JSON-RPC
// or HTTP.
package sse
