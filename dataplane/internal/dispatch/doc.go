// SPDX-License-Identifier: Apache-2.0

// Package dispatch is the federation: it makes one MCP server of the servers behind a gateway. It finds who answers a
// request by the view, changes the names that differ on the two sides, resolves the credential, and renders the lists.
//
// edge calls it for everything that it does not answer by itself; what is asked of a server goes through [Upstream]
// (bridge). It must never know HTTP, sessions or the era of an upstream.
//
// dispatch.go runs a request, target.go and task.go find who answers it, outbound.go makes and sends what the server gets, reply.go
// brings the answer into the client's form, with the names of room exposed; list.go renders lists from the view and live.go asks servers for theirs; listen.go and
// hub.go are about what servers tell outside of calls. search.go is the way to the tools of gateways that load them when needed.
// policy.go decides calls, after spelled.go has refused those that are not what policies read of them, and result.go what of their
// results the client gets, with room redact.
package dispatch
