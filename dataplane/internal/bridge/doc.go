// SPDX-License-Identifier: Apache-2.0

// Package bridge stands between the two eras of MCP (mcp.md section 4): sessions in which a server asks its client
// questions, and stateless requests that are answered with a question and sent again. Whatever the client's side and the
// upstream's side speak, each sees a peer of its own era.
//
//   - Offer: what a server is told that it may ask (room offer).
//   - A legacy client is asked on its session; a modern upstream gets the answers with the same request, sent again
//     (4.2).
//   - A modern client gets input_required; the call of a legacy upstream is held until it comes back with the answers
//     (4.1; rooms hold and state).
//   - Errors that speak of one client and its server (room verdict, M-47), tasks that one side does not know (room
//     tasks), log levels, and subscriptions of the other era's form.
//
// dispatch calls it, with names and URIs of the upstream; it calls the pools of upstreams. It must never know gateways'
// policies, names that clients see, HTTP, or how upstreams are reached. Params and results are raw JSON.
package bridge
