// SPDX-License-Identifier: Apache-2.0

// Package edge terminates MCP from clients: HTTP for both eras on one URL per gateway, /v1/mcp/<name or uid>.
//
// Each HTTP request passes, in this order (M-14): Host and Origin (edge/gate), the gateway, the client's token and its
// access (access.go), then the body (edge/intake), whose era is decided per request (era.go, M-1). What the eras share is
// in request.go and perform.go; what differs has a file each: modern.go, and legacy.go with batch.go and listen.go. A new
// revision of the protocol is an entry there and in wire, not a condition elsewhere (M-7). Errors become answers in
// toMCP, by the table of edge/rpcerror; answers are written by edge/answer.
//
// edge reads the JSON-RPC envelope and leaves params as bytes. authn says who calls, dispatch answers tools/list and
// tools/call; the root fills both in. edge must never know policies, credentials or upstreams, and it never makes an
// isError result.
//
// Not here yet, and answered as a server without them would: HTTP+SSE (2024-11-05), replay by Last-Event-ID (so events
// have no ids), subscriptions/listen, resources, prompts, completion, logging, tasks.
package edge
