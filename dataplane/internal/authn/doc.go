// SPDX-License-Identifier: Apache-2.0

// Package authn turns the token of a request into the principal behind it.
//
// The shape of the token decides the path, and nothing falls through to another path after a shape matched (RS-20).
// The first path is static bearer tokens (auth.md §8). It is called by edge once per request and reads one
// view.Snapshot. It must never know of MCP, of tools or of upstreams.
package authn
