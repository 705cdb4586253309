// SPDX-License-Identifier: Apache-2.0

// Package upstreamfake is an MCP server that wants access tokens, and the authorization server that gives them, for tests: it
// keeps state, is strict about its clients, and misbehaves as it is told.
package upstreamfake
