// SPDX-License-Identifier: Apache-2.0

// Package edge terminates MCP from clients: HTTP for both eras on one URL per gateway, /v1/mcp/<name or uid>.
//
// Each HTTP request passes, in this order (M-14): Host and Origin (edge/gate), the gateway, the client's token and its
// access (access.go), then the body (edge/intake), whose era is decided per request (era.go, M-1). What the eras share is
// in request.go and perform.go; what differs has a file each: modern.go with subscription.go, and legacy.go with batch.go
// and listen.go. A new revision of the protocol is an entry there, in edge/method and in wire, not a condition elsewhere
// (M-7). Which methods there are, and which of them a gateway has, is edge/method's table; what a modern request must
// carry is edge/valid's, what a modern result gets edge/result's. Errors become answers in toMCP, by the table of
// edge/rpcerror; answers are written by edge/answer; long streams last as long as edge/vigil says.
//
// Paths that are no gateway's are in documents.go: metadata by which clients find the authorization server (edge/metadata).
// What scopes a request needs is in scope.go, asked after the caller may see what it names (RS-9, RS-21).
//
// edge reads the JSON-RPC envelope and leaves params as bytes. authn says who calls, dispatch answers lists and calls; the
// root fills both in. edge must never know policies, credentials or upstreams, and the one isError result that
// it makes is for a call that was lost with its node (resume.go, M-92).
package edge
