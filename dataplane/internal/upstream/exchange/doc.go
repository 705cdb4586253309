// SPDX-License-Identifier: Apache-2.0

// Package exchange is one JSON-RPC message to an upstream in one HTTP request,
// and the reading of what comes back: a document, a batch, or a stream of
// events with notifications and questions before the response (mcp.md M-12,
// M-13, M-50). Everything happens on the caller's goroutine, in order.
//
// Called by upstream, which decides what is sent, to whom, and what follows from
// the answer. It must never know sessions as such, retries or faults.
package exchange
