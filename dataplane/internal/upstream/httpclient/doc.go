// SPDX-License-Identifier: Apache-2.0

// Package httpclient is the HTTP/1.1 client of the call path: pooled
// connections, one request at a time on each, everything done on the caller's
// goroutine. It exists because http.Transport hands every request through two
// more goroutines, which is most of its cost (performance.md, construction B).
//
// What it promises:
//
//   - A request is sent at most once. It goes to another connection only if not
//     one byte of it was written; idle connections are looked at before use, so
//     that a server's close is seen before a call is lost to it. [Error.Sent]
//     tells whether a failed request may have run.
//   - A body that ends early is [ErrTruncated], never io.EOF. A connection goes
//     back to the pool only when the answer was read to its end and nothing
//     follows it.
//   - Cancelling the context closes the connection, in the first 10 ms of an
//     exchange at their end.
//   - No redirects, no proxies, no cookies, no compression. Header fields that
//     could change the framing or split the message are refused.
//   - Every size and every wait has a limit.
//
// Called by upstream. It must never know MCP, JSON or credentials.
package httpclient
