// SPDX-License-Identifier: Apache-2.0

// Conformance runs the official MCP conformance suite against MCP servers, and against the same servers behind a gateway. It
// fails if a check comes out worse through the gateway and exceptions.yaml does not say why that has to be. It also puts the
// suite's own servers behind gateways, so that the suite judges the node as a client, and the authserver as a client of the
// authorization servers of those that take access tokens, enterprise-managed authorization among them, for which people log in with
// an identity provider in front of the suite's; that fails if any check is not good.
// `make conformance` runs it.
package main
