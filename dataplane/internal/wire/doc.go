// SPDX-License-Identifier: Apache-2.0

// Package wire knows what MCP messages look like as bytes: JSON-RPC envelopes,
// the five protocol versions and their two eras. It works on raw JSON (M-8):
// a scan finds where members lie, edits splice byte ranges, and every byte that
// no edit covers leaves as it came (M-9).
//
// # Overview
//
//   - Versions: [Version], [Era], [Negotiate] (M-4), [Supported],
//     [SupportedFor] (M-5).
//   - Reading: [Scan] fills a [Message] with Spans; [ScanParams], [ScanResult]
//     and [ScanError] do the same for a bare object. [Fields] and [Elements]
//     list any object or array. [IsBatch] and [SplitBatch] for batches.
//   - Values: [Span.Of], [DecodeString], [EqualString], [Int], [IsObject].
//   - Changing: [Edits] with Replace, Delete, Insert, Set, then AppendTo.
//     [StripMeta] removes reserved keys of _meta (M-61).
//   - Writing: [AppendRequest], [AppendNotification], [AppendResult],
//     [AppendError], [AppendErrorResponse], [AppendString], [AppendOneLine].
//   - Errors: faults of Kind Invalid; [CodeOf] gives -32700, -32600, -32602.
//
// All Append functions append to dst and return it, as append does. The
// subdirectories hold what is version- or stream-specific: wire/sse reads and
// writes server-sent events, wire/convert turns tools and results of one
// version into those of another (M-73). wire/grammar walks JSON for this room.
//
// A typical relay:
//
//	var m wire.Message
//	if err := wire.Scan(body, &m); err != nil { … wire.CodeOf(err) … }
//	name, ok := wire.DecodeString(m.P.Name.Of(body))
//	var e wire.Edits
//	e.Replace(m.P.Name.Span, wire.Quote(upstreamName))
//	params := e.AppendSpan(nil, body, m.Params.Span)
//
// Called by edge, bridge, dispatch and upstream. It must never know HTTP,
// gateways, policies or who is calling, and it imports nothing of ours but
// wire/grammar and kit/fault.
package wire
