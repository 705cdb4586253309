// SPDX-License-Identifier: Apache-2.0

// Package seal makes and opens sealed tokens (mcp.md M-86): values that a node hands to a client and that any node of
// the fleet can open later, without a table, because all nodes hold the same keyset. The client can neither read nor
// change them, and a token of one kind or gateway does not open as another.
// What nodes keep in a store that they share is sealed with the same keys, as bytes (mcp.md section 5).
//
// session, bridge, upstream, and whoever hands out cursors, use it. It must never know what a token holds, who may present it or how
// long it lives: expiry and binding to a principal are part of the sealed bytes and checked by the room that made them.
package seal
