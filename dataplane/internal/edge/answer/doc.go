// SPDX-License-Identifier: Apache-2.0

// Package answer writes what a POST or a long GET is answered with: one JSON body, or server-sent events when messages
// come before the response or the response is late (mcp.md M-18 to M-20).
//
// A [Stream] is the plain event writer. A [Writer] decides between the two forms, and queues messages so that whoever
// reads an upstream never waits for a slow client.
//
// edge uses it. It must never know methods, eras, sessions or who is calling.
package answer
