// SPDX-License-Identifier: Apache-2.0

// Package call is the vocabulary of one MCP request inside a node: who calls, what is called, what came back.
//
// edge makes a [Caller] and a [Call] out of an HTTP request, dispatch answers with a [Reply]. It is a leaf, so that
// the two need not import each other. It must never hold behaviour: no HTTP, no policy, no upstreams.
package call
