// SPDX-License-Identifier: Apache-2.0

// Package convert turns tool definitions and call results of one protocol
// version into what a client of another may get (mcp.md M-73), and takes out of
// results what only a node may say (M-61, G-13). It makes edits on raw bytes and
// changes nothing else.
//
// Called by edge and bridge when an answer is written, and when the lists of a
// view are prepared. It must never know where a result came from or who gets
// it.
package convert
